// How to train: the paper's Algorithm 1 and the code published with it. The values are
// those of moe_lib.authors; a test compares them.

export const PAPER = {
  dataScale: 1,
  heads: 1,
  loss: "logistic",
  gate: "softmax",
  bias: false,
  norm: "frobenius",
  testNoise: false,
  init: "normal",
  initScale: 1e-3,
  expertLr: 0.01,
  routerLr: 1,
  adam: false,
  weightDecay: 0,
};

export const AUTHORS = {
  dataScale: 10,
  heads: 2,
  loss: "double_softmax",
  gate: "noisy_logit",
  bias: true,
  norm: "sum",
  testNoise: true,
  init: "uniform",
  initScale: 1e-3,
  expertLr: 1e-3,
  routerLr: 0.1,
  adam: false,
  weightDecay: 0,
};

export const AUTHORS_SINGLE = {
  ...AUTHORS,
  loss: "cross_entropy",
  gate: "softmax",
  norm: "none",
  testNoise: false,
  initScale: 1,
  expertLr: 0.01,
  adam: true,
  weightDecay: 5e-4,
};

/** The recipe of that name for a mixture or a single expert. */
export function recipeOf({ recipe, model, activation }) {
  if (recipe === "paper") return PAPER;
  if (model === "mixture") return AUTHORS;
  return activation === "linear" ? { ...AUTHORS_SINGLE, expertLr: 0.003 } : AUTHORS_SINGLE;
}
