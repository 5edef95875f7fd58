// One run: data, model, step after step, and what the page shows of it. The same
// settings give the same run, bit for bit, on the same browser.

import { errorBound } from "../live/bound.js";
import { dot, sampleExamples, sampleSignals } from "./data.js";
import { Model, examples } from "./model.js";
import { Random, fillUniform, keyOf } from "./random.js";
import { recipeOf } from "./recipes.js";

export const SHOWN = 600; // examples in the picture
export const TEST_EVERY = 5; // steps between two looks at the held-out examples
export const LEG = 600; // steps after which training pauses by itself

/** H(cluster | expert) in nats, of counts [K][M]. */
export function dispatchEntropy(counts) {
  const load = counts[0].map((_, m) => counts.reduce((sum, row) => sum + row[m], 0));
  const total = load.reduce((sum, count) => sum + count, 0);
  let entropy = 0;
  for (const row of counts) {
    row.forEach((count, m) => {
      if (count > 0) entropy -= (count / total) * Math.log(count / load[m]);
    });
  }
  return entropy;
}

/** The accuracy that no single expert can exceed, or null where the theorem is silent. */
export function ceiling(alpha, gamma) {
  const error = errorBound(alpha, gamma);
  return error > 0 ? 1 - error : null;
}

export class Simulation {
  /** @param settings a complete set of values, as checked by settings.js */
  constructor(settings) {
    const { seed, model, n, J, d } = settings;
    const M = model === "single" ? 1 : settings.M;
    const recipe = recipeOf(settings);
    Object.assign(this, { settings, recipe, numExperts: M });
    this.signals = sampleSignals(settings, new Random(seed, "signals"));
    const [train, test] = ["train_data", "test_data"].map((stream) =>
      sampleExamples(settings, this.signals, n, new Random(seed, stream))
    );
    Object.assign(this, { train, test });
    this.data = examples(train.x, train.y, d, recipe);
    this.heldOut = examples(test.x, test.y, d, recipe);
    const random = new Random(seed, "init");
    const scale = recipe.initScale;
    const draw = {
      normal: () => scale * random.normal(),
      uniform: () => random.uniform(-scale, scale) / Math.sqrt(d),
    }[recipe.init];
    this.model = new Model(
      { numExperts: M, numFilters: J, dim: d, activation: settings.activation },
      recipe,
      Float32Array.from({ length: M * J * (d + recipe.bias) }, draw),
      model === "single" ? null : new Float32Array(d * M)
    );
    this.noise = new Float32Array(n * M);
    this.history = {
      steps: [],
      entropy: [],
      trainAccuracy: [],
      testSteps: [],
      testAccuracy: [],
      testEntropy: [],
    };
    this.look();
  }

  get steps() {
    return this.model.steps;
  }

  noiseOf(stream, step) {
    if (!this.settings.noise || !this.model.routerWeight) return null;
    fillUniform(this.noise, this.numExperts, { key: keyOf(this.settings.seed, stream), step });
    return this.noise;
  }

  step() {
    const { expert_lr: expertLr, router_lr: routerLr, normalised } = this.settings;
    const noise = this.noiseOf("router_noise", this.steps);
    this.note(this.model.step(this.data, noise, { expertLr, routerLr, normalised }));
    if (this.steps % TEST_EVERY === 0) this.evaluate();
  }

  /** What the step that comes next will see, without taking it. */
  look() {
    const noise = this.noiseOf("router_noise", 0);
    this.seen = this.model.forward(this.data, noise);
    this.counts = this.countsOf(this.train, this.seen.expertIndex);
    this.evaluate();
  }

  note(seen) {
    this.seen = seen;
    this.counts = this.countsOf(this.train, seen.expertIndex);
    this.history.steps.push(this.steps - 1);
    this.history.entropy.push(dispatchEntropy(this.counts));
    this.history.trainAccuracy.push(seen.accuracy);
  }

  /** Look at the held-out examples, unless that has been done at this step. */
  evaluate() {
    if (this.history.testSteps.at(-1) === this.steps) return;
    const noise = this.recipe.testNoise ? this.noiseOf("test_noise", this.steps) : null;
    this.history.testSteps.push(this.steps);
    const { accuracy, expertIndex } = this.model.forward(this.heldOut, noise);
    this.history.testAccuracy.push(accuracy);
    this.history.testEntropy.push(dispatchEntropy(this.countsOf(this.test, expertIndex)));
  }

  countsOf({ cluster }, expertIndex) {
    const counts = Array.from({ length: this.settings.K }, () => new Array(this.numExperts).fill(0));
    expertIndex.forEach((m, i) => (counts[cluster[i]][m] += 1));
    return counts;
  }

  /** Products with signals: experts [M][K], the best filter on v_k; router [M][K], on c_k. */
  alignments() {
    const { model, signals } = this;
    const { numExperts: M, numFilters: J, width, dim } = model;
    const { dataScale } = this.recipe;
    const experts = [];
    const router = [];
    for (let m = 0; m < M; m++) {
      const best = (v) => {
        const along = Array.from({ length: J }, (_, j) => {
          const start = (m * J + j) * width;
          return model.sign[j] * dataScale * dot(model.expertWeight.subarray(start, start + dim), v);
        });
        return Math.max(...along);
      };
      experts.push(signals.feature.map(best));
      if (!model.routerWeight) continue;
      const theta = Float64Array.from({ length: dim }, (_, c) => model.routerWeight[c * M + m]);
      router.push(signals.center.map((c) => dataScale * dot(theta, c)));
    }
    return { experts, router };
  }

  /** All that the page draws, as plain data. */
  snapshot() {
    const { train, seen } = this;
    return {
      steps: this.steps,
      loss: seen.loss,
      trainAccuracy: seen.accuracy,
      testAccuracy: this.history.testAccuracy.at(-1),
      entropy: dispatchEntropy(this.counts),
      testEntropy: this.history.testEntropy.at(-1),
      counts: this.counts,
      history: this.history,
      ...this.alignments(),
      points: {
        cluster: train.cluster.slice(0, SHOWN),
        feature: train.feature.slice(0, SHOWN),
        featureNoise: train.featureNoise.slice(0, SHOWN),
        expert: seen.expertIndex.slice(0, SHOWN),
        right: seen.right.slice(0, SHOWN),
      },
    };
  }
}
