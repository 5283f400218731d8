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
    total.maxAbsDelta = Math.max(total.maxAbsDelta, values[at] ?? 0);
    total.sumOfSquares += values[at + 1] ?? 0;
    total.changed += values[at + 2] ?? 0;
    total.notFinite += values[at + 3] ?? 0;
  }
  return total;
}
