import type { Sparsity } from "./names.ts";

/**
 * Where PEFT cuts a 24-bit uniform draw u into −1 (u < low), 0 and +1 (u > high). PEFT compares u·2⁻²⁴ with 1/(2s) and
 * 1 − 1/(2s) rounded to f32, s = 3 or √min; in units of 2⁻²⁴ that is a comparison of integers.
 */
export interface TernaryCuts {
  readonly low: number;
  readonly high: number;
}

/** The cuts of PEFT's sparse (s = 3) and very sparse (s = √min) bases; `min` is the smaller dimension they are drawn at. */
export function ternaryCuts(sparsity: Exclude<Sparsity, "dense">, min: number): TernaryCuts {
  const s = sparsity === "sparse" ? 3 : Math.sqrt(min);
  return {
    low: Math.ceil(Math.fround(1 / (2 * s)) * 2 ** 24),
    high: Math.floor(Math.fround(1 - 1 / (2 * s)) * 2 ** 24),
  };
}

/**
 * Packs draws `from..to` into two-bit codes at element `at` of `out`, 16 a word, the first in the lowest bits: 0 → 0, 1 → +1, 2 → −1.
 * `at` must be a multiple of 16; words are assigned, their last unused bits zero.
 */
export function packTernary(
  draws: Uint32Array,
  from: number,
  to: number,
  cuts: TernaryCuts,
  out: Uint32Array,
  at: number,
): void {
  const { low, high } = cuts;
  let word = at >>> 4;
  let i = from;
  for (; i + 16 <= to; i += 16) {
    let codes = 0;
    for (let k = 0; k < 16; k++) {
      const u = (draws[i + k] as number) & 0xffffff;
      codes = (codes >>> 2) | (((high - u) >>> 31) << 30) | (((u - low) >>> 31) << 31);
    }
    out[word++] = codes;
  }
  if (i === to) return;
  let codes = 0;
  for (let k = 0; i + k < to; k++) {
    const u = (draws[i + k] as number) & 0xffffff;
    codes |= (((high - u) >>> 31) | (((u - low) >>> 31) << 1)) << (2 * k);
  }
  out[word] = codes;
}

/** How many of the first `count` draws become +1 and −1. */
export function countTernary(draws: Uint32Array, count: number, cuts: TernaryCuts): { plus: number; minus: number } {
  const { low, high } = cuts;
  let plus = 0;
  let minus = 0;
  for (let i = 0; i < count; i++) {
    const u = (draws[i] as number) & 0xffffff;
    plus += (high - u) >>> 31;
    minus += (u - low) >>> 31;
  }
  return { plus, minus };
}
