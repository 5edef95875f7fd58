// The mixture and Algorithm 1, in plain JavaScript: what moe_lib computes for one run.
// It draws nothing: data, initial weights and routing noise come from outside.
// Axes: n examples, P patches, d dimensions, M experts, J filters. Arrays are flat, in
// the order of their shapes.

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

/**
 * Examples as the model reads them.
 * @param x patches [n, P, d]
 * @param y labels -1 or +1 [n]
 * @returns the same, with the sum of the patches of each example [n, d]
 */
export function examples(x, y, dim) {
  const n = y.length;
  const numPatches = x.length / (n * dim);
  const patchSum = new x.constructor(n * dim);
  for (let i = 0; i < n; i++) {
    for (let p = 0; p < numPatches; p++) {
      for (let c = 0; c < dim; c++) {
        patchSum[i * dim + c] += x[(i * numPatches + p) * dim + c];
      }
    }
  }
  return { x, y, n, numPatches, patchSum };
}

/** A mixture of experts, or a single expert where there is no router. */
export class Model {
  /**
   * @param expertWeight filters [M, J, d], changed in place by training
   * @param routerWeight Theta [d, M]; null for a single expert
   */
  constructor({ numExperts, numFilters, dim, activation }, expertWeight, routerWeight) {
    Object.assign(this, { numExperts, numFilters, dim, activation });
    this.expertWeight = expertWeight;
    this.routerWeight = routerWeight;
    this.expertGrad = new expertWeight.constructor(expertWeight.length);
    this.routerGrad = routerWeight && new expertWeight.constructor(routerWeight.length);
    this.logits = new Float64Array(numExperts);
    this.probs = new Float64Array(numExperts);
    this.slopes = new Float64Array(0);
  }

  /** Choose an expert for example i; the gate value is that of the softmax, noise-free. */
  route(data, i, noise) {
    const { numExperts: M, dim, logits, probs } = this;
    if (!this.routerWeight) return 0;
    logits.fill(0);
    for (let c = 0; c < dim; c++) {
      const s = data.patchSum[i * dim + c];
      for (let m = 0; m < M; m++) logits[m] += s * this.routerWeight[c * M + m];
    }
    let chosen = 0;
    let best = -Infinity;
    const top = Math.max(...logits);
    let total = 0;
    for (let m = 0; m < M; m++) {
      const score = logits[m] + (noise ? noise[i * M + m] : 0);
      if (score > best) [best, chosen] = [score, m];
      probs[m] = Math.exp(logits[m] - top);
      total += probs[m];
    }
    for (let m = 0; m < M; m++) probs[m] /= total;
    return chosen;
  }

  /** Return f_m(x_i), and keep the derivative of each response for `learn`. */
  answer(data, i, m) {
    const { numFilters: J, dim, expertWeight: w } = this;
    const value = VALUE[this.activation];
    const slope = SLOPE[this.activation];
    // A linear expert cannot tell patches apart: their sum is all it sees.
    const [x, P] = this.patches(data);
    if (this.slopes.length < P * J) this.slopes = new Float64Array(P * J);
    let f = 0;
    for (let p = 0; p < P; p++) {
      const start = (i * P + p) * dim;
      for (let j = 0; j < J; j++) {
        const row = (m * J + j) * dim;
        let z = 0;
        for (let c = 0; c < dim; c++) z += w[row + c] * x[start + c];
        f += value(z);
        this.slopes[p * J + j] = slope(z);
      }
    }
    return f;
  }

  patches(data) {
    return this.activation === "linear" ? [data.patchSum, 1] : [data.x, data.numPatches];
  }

  /** Add what example i teaches expert m; `pull` is the derivative of the loss in f. */
  learn(data, i, m, pull) {
    const { numFilters: J, dim, expertGrad } = this;
    const [x, P] = this.patches(data);
    for (let p = 0; p < P; p++) {
      const start = (i * P + p) * dim;
      for (let j = 0; j < J; j++) {
        const weight = pull * this.slopes[p * J + j];
        if (weight === 0) continue;
        const row = (m * J + j) * dim;
        for (let c = 0; c < dim; c++) expertGrad[row + c] += weight * x[start + c];
      }
    }
  }

  /**
   * Pass over all examples; the gradients are left in expertGrad and routerGrad.
   * @param noise Uniform[0, 1) [n, M], for the choice only; null, as at test time: none
   * @returns mean loss, accuracy and the chosen expert of each example
   */
  forward(data, noise, { gradients = false } = {}) {
    const { numExperts: M, dim, probs } = this;
    const expertIndex = new Uint8Array(data.n);
    let loss = 0;
    let right = 0;
    if (gradients) this.expertGrad.fill(0);
    if (gradients && this.routerWeight) this.routerGrad.fill(0);
    for (let i = 0; i < data.n; i++) {
      const m = this.route(data, i, noise);
      expertIndex[i] = m;
      const gate = this.routerWeight ? probs[m] : 1;
      const f = this.answer(data, i, m);
      const margin = data.y[i] * gate * f;
      loss += margin > 0 ? Math.log1p(Math.exp(-margin)) : Math.log1p(Math.exp(margin)) - margin;
      if (margin > 0) right += 1;
      if (!gradients) continue;
      const pull = -data.y[i] / (1 + Math.exp(margin)) / data.n;
      this.learn(data, i, m, pull * gate);
      if (!this.routerWeight) continue;
      for (let q = 0; q < M; q++) {
        const weight = pull * f * gate * ((q === m) - probs[q]);
        for (let c = 0; c < dim; c++) {
          this.routerGrad[c * M + q] += weight * data.patchSum[i * dim + c];
        }
      }
    }
    return { loss: loss / data.n, accuracy: right / data.n, expertIndex };
  }

  /** One full-batch step of Algorithm 1; without `normalised`, plain gradient descent. */
  step(data, noise, { expertLr, routerLr, normalised = true }) {
    const seen = this.forward(data, noise, { gradients: true });
    const size = this.numFilters * this.dim;
    for (let m = 0; m < this.numExperts; m++) {
      const grad = this.expertGrad.subarray(m * size, (m + 1) * size);
      const norm = normalised ? Math.sqrt(grad.reduce((sum, g) => sum + g * g, 0)) : 1;
      if (norm === 0) continue; // no example reached it
      for (let k = 0; k < size; k++) this.expertWeight[m * size + k] -= (expertLr * grad[k]) / norm;
    }
    if (this.routerWeight) {
      this.routerGrad.forEach((g, k) => (this.routerWeight[k] -= routerLr * g));
    }
    return seen;
  }
}
