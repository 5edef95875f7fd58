// Random numbers as a pure function of seed, stream and place: Philox4x32-10 (Salmon,
// Moraes, Dror and Shaw, 2011), the generator behind the routing noise of moe_lib.

const STREAMS = ["signals", "train_data", "test_data", "init", "router_noise", "test_noise"];

/** The upper 32 bits of the product of two words. */
function upper(a, b) {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  return (a1 * b1 + Math.floor(middle / 65536) + (((middle % 65536) + a0 * b1) >>> 16)) >>> 0;
}

/** Fill `words` with the four words of Philox4x32-10 at a counter. */
export function philox(c0, c1, c2, c3, [k0, k1], words) {
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = [upper(c0, 0xd2511f53), Math.imul(c0, 0xd2511f53)];
    const [high1, low1] = [upper(c2, 0xcd9e8d57), Math.imul(c2, 0xcd9e8d57)];
    [c0, c1] = [(high1 ^ c1 ^ k0) >>> 0, low1 >>> 0];
    [c2, c3] = [(high0 ^ c3 ^ k1) >>> 0, low0 >>> 0];
    [k0, k1] = [(k0 + 0x9e3779b9) >>> 0, (k1 + 0xbb67ae85) >>> 0];
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

/** Fill `out` [n, M] with Uniform[0, 1): moe_lib.rng.fill_uniform, bit for bit. */
export function fillUniform(out, numColumns, { key, step }) {
  const words = new Uint32Array(4);
  const n = out.length / numColumns;
  for (let group = 0; 4 * group < n; group++) {
    for (let m = 0; m < numColumns; m++) {
      philox(group, m, step, 0, key, words);
      for (let r = 0; r < 4 && 4 * group + r < n; r++) {
        out[(4 * group + r) * numColumns + m] = (words[r] >>> 8) * 2 ** -24;
      }
    }
  }
}

export const keyOf = (seed, stream) => [seed >>> 0, STREAMS.indexOf(stream)];

/** One stream of a seed, drawn number after number. */
export class Random {
  constructor(seed, stream) {
    this.key = keyOf(seed, stream);
    this.count = 0;
    this.words = new Uint32Array(4);
  }

  /** Uniform[low, high). */
  uniform(low = 0, high = 1) {
    if (this.count % 4 === 0) philox(this.count / 4, 0, 0, 1, this.key, this.words);
    const word = this.words[this.count++ % 4];
    return low + (high - low) * (word >>> 8) * 2 ** -24;
  }

  below(bound) {
    return Math.floor(this.uniform(0, bound));
  }

  sign() {
    return this.uniform() < 0.5 ? -1 : 1;
  }

  /** Standard normal, by the method of Box and Muller. */
  normal() {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }
}
