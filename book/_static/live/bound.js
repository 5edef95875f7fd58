// The bound on every sum of patch scores: moe_lib.theory.additive_error_bound.

/** Share of examples in which signal and noise, uniform on two ranges, may be exchanged. */
export function exchangeable(alpha, gamma) {
  if (alpha[0] === gamma[0] && alpha[1] === gamma[1]) return 1;
  const overlap = Math.min(alpha[1], gamma[1]) - Math.max(alpha[0], gamma[0]);
  const area = (alpha[1] - alpha[0]) * (gamma[1] - gamma[0]);
  return overlap > 0 && area > 0 ? overlap ** 2 / area : 0;
}

/** The least error; 0 where nothing can be exchanged and the theorem is silent. */
export const errorBound = (alpha, gamma) => exchangeable(alpha, gamma) / 8;
