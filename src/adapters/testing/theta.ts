import { itemAt } from "../../files/item-at.ts";

// PRANC's bases in big integers and doubles, straight from their definition: nothing here is shared with the source.

/** Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011). */
function philox(counter: readonly bigint[], key: readonly bigint[]): bigint[] {
  const mask = 0xffffffffn;
  let [c0 = 0n, c1 = 0n, c2 = 0n, c3 = 0n] = counter;
  let [k0 = 0n, k1 = 0n] = key;
  for (let round = 0; round < 10; round++) {
    const [p0, p1] = [0xd2511f53n * c0, 0xcd9e8d57n * c2];
    [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & mask, (p0 >> 32n) ^ c3 ^ k1, p0 & mask];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return [c0, c1, c2, c3];
}

let known: { readonly key: string; readonly words: readonly bigint[] } | undefined;

/** Element `at` of a basis: one of 256 numbers from −1 to 1. */
export function theta(seed: bigint, basis: number, at: bigint): number {
  const key = `${seed} ${basis} ${at / 16n}`;
  if (known?.key !== key) {
    const bits = BigInt.asUintN(64, seed);
    const block = at / 16n;
    const counter = [block & 0xffffffffn, block >> 32n, BigInt(basis), 1n];
    known = { key, words: philox(counter, [bits & 0xffffffffn, bits >> 32n]) };
  }
  const lane = at % 16n;
  const byte = Number(((known.words[Number(lane / 4n)] ?? 0n) >> ((lane % 4n) * 8n)) & 0xffn);
  return (2 * byte - 255) / 255;
}

/** A layer in the bases. */
export interface TestTheta {
  readonly seed: bigint;
  readonly out: number;
  readonly in: number;
  readonly offset: number;
}

/** Σ_i α_i θ_i (out, in), without any scale. */
export function thetaSum({ seed, out, in: input, offset }: TestTheta, alpha: ArrayLike<number>): Float64Array {
  const sum = new Float64Array(out * input);
  for (let i = 0; i < alpha.length; i++) {
    for (let e = 0; e < sum.length; e++)
      sum[e] = itemAt(sum, e) + itemAt(alpha, i) * theta(seed, i, BigInt(offset + e));
  }
  return sum;
}

/** Σ_e G[e] θ_i[e] for each of `count` bases, without any scale. */
export function thetaProducts({ seed, offset }: TestTheta, g: ArrayLike<number>, count: number): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => {
    let sum = 0;
    for (let e = 0; e < g.length; e++) sum += itemAt(g, e) * theta(seed, i, BigInt(offset + e));
    return sum;
  });
}
