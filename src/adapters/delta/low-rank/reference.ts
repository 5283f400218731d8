import type { DeltaSample } from "../sample.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { LowRankLayer } from "./layer.ts";

/** factor · scale · B·A (out, in) in f64 by the plain sum over the rank, at a sample of its elements, row-major. */
export async function lowRankReference(
  layer: LowRankLayer,
  factor: number,
  { rows, cols }: DeltaSample,
): Promise<Float64Array> {
  const { a, b, rank, scale, in: input } = layer;
  const right = await a.read(0, rank);
  const delta = new Float64Array(rows.length * cols.length);
  for (const [i, row] of rows.entries()) {
    const left = await b.read(row, 1);
    for (const [j, col] of cols.entries()) {
      let sum = 0;
      for (let k = 0; k < rank; k++) sum += itemAt(left, k) * itemAt(right, k * input + col);
      delta[i * cols.length + j] = scale * factor * sum;
    }
  }
  return delta;
}
