import { shuffled } from "./shuffle.ts";
import type { Samples, StepOptions } from "./types.ts";

/** What is batched: the samples of each row, by number. */
export interface Rows {
  readonly length: number;
  samplesOf(row: number): readonly number[];
}

/**
 * Cuts a data set into rows, the same for every epoch. Without packing a row is a sample. With it, samples join a row
 * for as long as they fit (next fit: without padding a row that is not full costs nothing), in file order or, where
 * epochs are shuffled, in an order drawn once, so that neighbors in the file do not always share a row.
 */
export function rowsOf(
  data: Pick<Samples<unknown>, "length" | "lengthOf">,
  { packing, shuffle, seed }: Omit<StepOptions, "length">,
): Rows {
  if (packing === undefined) return { length: data.length, samplesOf: (row) => [row] };
  const order = shuffle
    ? shuffled(data.length, seed, "packing")
    : Uint32Array.from({ length: data.length }, (_, i) => i);
  const bounds: number[] = [];
  let room = 0;
  for (const [k, i] of order.entries()) {
    if (data.lengthOf(i) > room) {
      bounds.push(k);
      room = packing;
    }
    room -= data.lengthOf(i);
  }
  return { length: bounds.length, samplesOf: (row) => [...order.subarray(bounds[row], bounds[row + 1])] };
}
