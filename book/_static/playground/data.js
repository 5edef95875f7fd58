// Definition 3.1 of the paper: examples made of patches, in clusters that nobody tells
// the model.

/** Draw 2 K orthonormal directions [K, d]: feature signals v and cluster centres c. */
export function sampleSignals({ K, d }, random) {
  const rows = [];
  while (rows.length < 2 * K) {
    const row = Float64Array.from({ length: d }, () => random.normal());
    // Twice, so that rounding leaves nothing of the earlier rows.
    for (const earlier of [...rows, ...rows]) {
      const along = dot(row, earlier);
      earlier.forEach((value, c) => (row[c] -= along * value));
    }
    const length = Math.sqrt(dot(row, row));
    rows.push(row.map((value) => value / length));
  }
  return { feature: rows.slice(0, K), center: rows.slice(K) };
}

export function dot(a, b) {
  let sum = 0;
  for (let c = 0; c < a.length; c++) sum += a[c] * b[c];
  return sum;
}

/**
 * Draw n examples, patches shuffled.
 * @returns x [n, P, d], y, and what the model never sees: cluster, and the signed
 *   strengths of the own feature (y alpha) and of the feature noise (epsilon gamma)
 */
export function sampleExamples({ K, P, d, alpha, beta, gamma, sigma_p }, signals, n, random) {
  const x = new Float32Array(n * P * d);
  const y = new Int8Array(n);
  const cluster = new Uint8Array(n);
  const feature = new Float32Array(n);
  const featureNoise = new Float32Array(n);
  const deviation = sigma_p / Math.sqrt(d);
  const place = Array.from({ length: P }, (_, p) => p);
  for (let i = 0; i < n; i++) {
    const k = (cluster[i] = random.below(K));
    const other = (k + 1 + random.below(K - 1)) % K;
    y[i] = random.sign();
    feature[i] = y[i] * random.uniform(...alpha);
    featureNoise[i] = random.sign() * random.uniform(...gamma);
    shuffle(place, random);
    const patch = (role) => x.subarray((i * P + place[role]) * d).subarray(0, d);
    write(patch(0), signals.feature[k], feature[i]);
    write(patch(1), signals.center[k], random.uniform(...beta));
    write(patch(2), signals.feature[other], featureNoise[i]);
    for (let p = 3; p < P; p++) {
      const noise = patch(p);
      for (let c = 0; c < d; c++) noise[c] = deviation * random.normal();
    }
  }
  return { x, y, cluster, feature, featureNoise };
}

function write(patch, direction, strength) {
  for (let c = 0; c < patch.length; c++) patch[c] = strength * direction[c];
}

function shuffle(values, random) {
  for (let last = values.length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    [values[last], values[other]] = [values[other], values[last]];
  }
}
