// The mixture and how it trains, in plain JavaScript: what moe_lib computes for one run.
// It draws nothing: data, initial weights and routing noise come from outside.
// Axes: n examples, P patches, d dimensions, M experts, J filters. Arrays are flat, in
// the order of their shapes. A bias is the weight of one more coordinate that is always
// one, so filters and patches have D = d or D = d + 1 coordinates.

// Each activation and its derivative.
const VALUE = {
  linear: (z) => z,
  cubic: (z) => z * z * z,
  relu: (z) => (z > 0 ? z : 0),
};
const SLOPE = {
  linear: () => 1,
  cubic: (z) => 3 * z * z,
  relu: (z) => (z > 0 ? 1 : 0),
};
export const ACTIVATIONS = Object.keys(VALUE);

const softplus = (z) => (z > 0 ? z + Math.log1p(Math.exp(-z)) : Math.log1p(Math.exp(z)));
const sigmoid = (z) => 1 / (1 + Math.exp(-z));
const ADAM = { first: 0.9, second: 0.999, epsilon: 1e-8 };

/**
 * Examples as a model reads them.
 * @param x patches [n, P, d]
 * @param y labels -1 or +1 [n]
 * @returns patches [n, P, D] times `dataScale`, and their sum over each example [n, D]
 */
export function examples(x, y, dim, { dataScale = 1, bias = false } = {}) {
  const n = y.length;
  const numPatches = x.length / (n * dim);
  const width = dim + bias;
  const patches = new x.constructor(n * numPatches * width).fill(1);
  const patchSum = new x.constructor(n * width);
  for (let row = 0; row < n * numPatches; row++) {
    const sum = Math.floor(row / numPatches) * width;
    for (let c = 0; c < dim; c++) patches[row * width + c] = dataScale * x[row * dim + c];
    for (let c = 0; c < width; c++) patchSum[sum + c] += patches[row * width + c];
  }
  return { patches, patchSum, y, n, numPatches };
}

/** A mixture of experts, or a single expert where there is no router. */
export class Model {
  /**
   * @param recipe of recipes.js: heads, loss, gate, bias, norm, adam, weightDecay
   * @param expertWeight filters [M, J, D], changed in place by training
   * @param routerWeight Theta [d, M]; null for a single expert
   */
  constructor(
    { numExperts, numFilters, dim, activation },
    recipe,
    expertWeight,
    routerWeight
  ) {
    const width = dim + recipe.bias;
    Object.assign(this, { numExperts, numFilters, dim, width, activation, recipe });
    this.expertWeight = expertWeight;
    this.routerWeight = routerWeight;
    const zeros = (like) => like && new like.constructor(like.length);
    this.expertGrad = zeros(expertWeight);
    this.routerGrad = zeros(routerWeight);
    this.moments = recipe.adam && [zeros(expertWeight), zeros(expertWeight)];
    this.steps = 0;
    this.logits = new Float64Array(numExperts);
    this.probs = new Float64Array(numExperts);
    this.slopes = new Float64Array(0);
    // With two heads, the first half of the filters speaks for label -1.
    this.sign = Float64Array.from({ length: numFilters }, (_, j) =>
      recipe.heads === 2 && j < numFilters / 2 ? -1 : 1
    );
  }

  /** Choose an expert for example i: the argmax of logits plus noise. */
  route(data, i, noise) {
    const { numExperts: M, dim, width, logits } = this;
    if (!this.routerWeight) return 0;
    logits.fill(0);
    for (let c = 0; c < dim; c++) {
      const s = data.patchSum[i * width + c];
      for (let m = 0; m < M; m++) logits[m] += s * this.routerWeight[c * M + m];
    }
    let chosen = 0;
    let best = -Infinity;
    for (let m = 0; m < M; m++) {
      const score = logits[m] + (noise ? noise[i * M + m] : 0);
      if (score > best) [best, chosen] = [score, m];
    }
    return chosen;
  }

  /** The gate value of the chosen expert; `probs` holds the noise-free softmax. */
  gate(i, chosen, noise) {
    const { numExperts: M, logits, probs } = this;
    if (!this.routerWeight) return 1;
    if (this.recipe.gate === "noisy_logit") {
      return logits[chosen] + (noise ? noise[i * M + chosen] : 0);
    }
    const top = Math.max(...logits);
    let total = 0;
    for (let m = 0; m < M; m++) total += probs[m] = Math.exp(logits[m] - top);
    for (let m = 0; m < M; m++) probs[m] /= total;
    return probs[chosen];
  }

  /** Return f_m(x_i), and keep the derivative of each response for `learn`. */
  answer(data, i, m) {
    const { numFilters: J, width, expertWeight: w, sign } = this;
    const value = VALUE[this.activation];
    const slope = SLOPE[this.activation];
    const [x, P] = this.inputs(data);
    if (this.slopes.length < P * J) this.slopes = new Float64Array(P * J);
    let f = 0;
    for (let p = 0; p < P; p++) {
      const start = (i * P + p) * width;
      for (let j = 0; j < J; j++) {
        const row = (m * J + j) * width;
        let z = 0;
        for (let c = 0; c < width; c++) z += w[row + c] * x[start + c];
        f += sign[j] * value(z);
        this.slopes[p * J + j] = sign[j] * slope(z);
      }
    }
    return f;
  }

  /** A linear expert cannot tell patches apart: their sum is all it sees. */
  inputs(data) {
    const summed = this.activation === "linear";
    return summed ? [data.patchSum, 1] : [data.patches, data.numPatches];
  }

  /** Add what example i teaches expert m; `pull` is the derivative of the loss in f. */
  learn(data, i, m, pull) {
    const { numFilters: J, width, expertGrad } = this;
    const [x, P] = this.inputs(data);
    for (let p = 0; p < P; p++) {
      const start = (i * P + p) * width;
      for (let j = 0; j < J; j++) {
        const weight = pull * this.slopes[p * J + j];
        if (weight === 0) continue;
        const row = (m * J + j) * width;
        for (let c = 0; c < width; c++) expertGrad[row + c] += weight * x[start + c];
      }
    }
  }

  /** The loss at margin yF and its derivative there. */
  loss(margin) {
    if (this.recipe.loss === "double_softmax") {
      const t = Math.tanh(margin / 2);
      return [softplus(-t), (-sigmoid(-t) * (1 - t * t)) / 2];
    }
    return [softplus(-margin), -sigmoid(-margin)];
  }

  /**
   * Pass over all examples; the gradients are left in expertGrad and routerGrad.
   * @param noise Uniform[0, 1) [n, M]; null for none
   * @returns mean loss, accuracy, and of each example the chosen expert and whether
   *   the answer is right
   */
  forward(data, noise, { gradients = false } = {}) {
    const { numExperts: M, dim, width, probs } = this;
    const softmax = this.recipe.gate === "softmax";
    const expertIndex = new Uint8Array(data.n);
    const right = new Uint8Array(data.n);
    let loss = 0;
    let correct = 0;
    if (gradients) {
      this.expertGrad.fill(0);
      this.routerGrad?.fill(0);
    }
    for (let i = 0; i < data.n; i++) {
      const y = data.y[i];
      const m = this.route(data, i, noise);
      const gate = this.gate(i, m, noise);
      const f = this.answer(data, i, m);
      const margin = y * gate * f;
      const [value, slope] = this.loss(margin);
      loss += value;
      correct += right[i] = margin > 0;
      expertIndex[i] = m;
      if (!gradients) continue;
      const pull = (y * slope) / data.n;
      this.learn(data, i, m, pull * gate);
      if (!this.routerWeight) continue;
      for (let q = 0; q < M; q++) {
        const moved = softmax ? gate * ((q === m) - probs[q]) : q === m;
        const weight = pull * f * moved;
        if (weight === 0) continue;
        for (let c = 0; c < dim; c++) {
          this.routerGrad[c * M + q] += weight * data.patchSum[i * width + c];
        }
      }
    }
    return { loss: loss / data.n, accuracy: correct / data.n, expertIndex, right };
  }

  /** One full-batch step; without `normalised`, experts follow the plain gradient. */
  step(data, noise, { expertLr, routerLr, normalised = true }) {
    const seen = this.forward(data, noise, { gradients: true });
    this.steps += 1;
    if (this.recipe.adam) this.adam(expertLr);
    else this.descend(expertLr, normalised ? this.recipe.norm : "none");
    this.routerGrad?.forEach((g, k) => (this.routerWeight[k] -= routerLr * g));
    return seen;
  }

  /** Move each expert against its gradient, divided by its norm. */
  descend(lr, norm) {
    const { numExperts, width, dim } = this;
    const size = this.numFilters * width;
    for (let m = 0; m < numExperts; m++) {
      const grad = this.expertGrad.subarray(m * size, (m + 1) * size);
      let weights = 0;
      let biases = 0;
      grad.forEach((g, k) => (k % width < dim ? (weights += g * g) : (biases += g * g)));
      const length = {
        frobenius: Math.sqrt(weights + biases),
        sum: Math.sqrt(weights) + Math.sqrt(biases),
        none: 1,
      }[norm];
      if (length === 0) continue; // no example reached it
      for (let k = 0; k < size; k++) this.expertWeight[m * size + k] -= (lr * grad[k]) / length;
    }
  }

  /** Adam (Kingma and Ba, 2015), with the weight decay added to the gradient. */
  adam(lr) {
    const { expertWeight: w, expertGrad, moments, steps } = this;
    const { first, second, epsilon } = ADAM;
    const [mean, square] = moments;
    const [unbiased, scale] = [1 - first ** steps, Math.sqrt(1 - second ** steps)];
    for (let k = 0; k < w.length; k++) {
      const g = expertGrad[k] + this.recipe.weightDecay * w[k];
      mean[k] += (1 - first) * (g - mean[k]);
      square[k] += (1 - second) * (g * g - square[k]);
      w[k] -= ((lr / unbiased) * mean[k]) / (Math.sqrt(square[k]) / scale + epsilon);
    }
  }
}
