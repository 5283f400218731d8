import { RandloraError } from "../../files/errors.ts";
import { philox4x32 } from "./philox.ts";

/** Two words of 32 bits. */
export type Words = readonly [number, number];

/** What decides which elements of a matrix are dropped: the same on every GPU, in any order, at any time. */
export interface DropoutMask {
  /** Probability that an element is dropped, 0 ≤ rate < 1; rounded to 1/65536. */
  readonly rate: number;
  /** Words of the run's seed: equal ones draw equal masks. */
  readonly key: Words;
  /** Tells masks of one run apart: the micro-batch, and the place in the model. */
  readonly stream: Words;
}

/**
 * The rate in 1/65536, which is what 16 bits are compared with, and what the kept elements are multiplied by: the
 * inverse of the probability to be kept as it is after rounding, so that the expectation stays exact.
 * @throws RandloraError `usage` for a rate that is not in 0 ≤ rate < 1
 */
export function dropoutScale(rate: number): { readonly threshold: number; readonly scale: number } {
  if (!(rate >= 0 && rate < 1)) {
    throw new RandloraError("usage", `dropout ${rate}: a probability from 0 to below 1 is needed`);
  }
  const threshold = Math.min(65535, Math.round(rate * 65536));
  return { threshold, scale: 65536 / (65536 - threshold) };
}

const words = new Uint32Array(4);

/** The factor of element (row, col): 0, or the scale of {@link dropoutScale}. */
export function dropoutFactor({ rate, key, stream }: DropoutMask, row: number, col: number): number {
  const { threshold, scale } = dropoutScale(rate);
  philox4x32(words, [col >>> 3, row, ...stream], key);
  const word = words[(col & 7) >>> 1] ?? 0;
  return ((word >>> ((col & 1) * 16)) & 0xffff) >= threshold ? scale : 0;
}
