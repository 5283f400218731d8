import { itemAt } from "../../files/item-at.ts";

/** What was done to a block of rows. */
export interface MergeStatistics {
  readonly maxAbsDelta: number;
  readonly sumOfSquares: number;
  /** Weights that differ from the old ones after rounding. */
  readonly changed: number;
  readonly notFinite: number;
}

/** Reduces what the kernel wrote: (max, Σx², changed, not finite) of each part. */
export function readStatistics(bytes: Uint8Array<ArrayBuffer>): MergeStatistics {
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const total = { maxAbsDelta: 0, sumOfSquares: 0, changed: 0, notFinite: 0 };
  for (let at = 0; at < values.length; at += 4) {
    total.maxAbsDelta = Math.max(total.maxAbsDelta, itemAt(values, at));
    total.sumOfSquares += itemAt(values, at + 1);
    total.changed += itemAt(values, at + 2);
    total.notFinite += itemAt(values, at + 3);
  }
  return total;
}
