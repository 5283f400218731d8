import type { Dropout } from "../../device/families/elementwise.ts";
import { dropoutScale } from "../../random/dropout.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";

/** y (+)= x · scale where 16 bits that are drawn for an element reach the threshold, else 0; src/compute/random/dropout.ts. */
export const DROPOUT = cpuKernel("dropout", {
  rows: "u32",
  /** Vectors of 4 in a row. */
  width: "u32",
  threshold: "u32",
  keyLow: "u32",
  keyHigh: "u32",
  streamLow: "u32",
  streamHigh: "u32",
  scale: "f32",
  accumulate: "flag",
  x: "matrix",
  y: "target",
  pieceRows: "u32",
});

export function dropout(on: Dispatcher, { x, mask, y, accumulate }: Dropout): void {
  const [rows, cols] = y.shape;
  const [keyLow, keyHigh] = mask.key;
  const [streamLow, streamHigh] = mask.stream;
  const { pieceRows, count } = rowPieces(rows, cols);
  on.dispatch(
    DROPOUT,
    {
      rows,
      width: Math.ceil(cols / 4),
      ...dropoutScale(mask.rate),
      keyLow,
      keyHigh,
      streamLow,
      streamHigh,
      accumulate,
      x,
      y,
      pieceRows,
    },
    count,
  );
}
