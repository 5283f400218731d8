import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import { widenToF64 } from "../../files/safetensors/numbers.ts";
import { itemAt } from "../../files/item-at.ts";
import type { StoredWeight } from "../method/plan.ts";

/** Some rows of W (out, in) in f64, one after another. @param conv1d W is stored (in, out). @throws RandloraError `file` */
export async function weightRows(
  weight: StoredWeight,
  rows: readonly number[],
  conv1d: boolean,
): Promise<Float64Array> {
  return conv1d ? await columnsOf(weight, rows) : await rowsOf(weight, rows);
}

/** Stored rows, one after another. */
async function rowsOf(weight: StoredWeight, rows: readonly number[]): Promise<Float64Array> {
  const all = new Float64Array(rows.length * weight.cols);
  for (const [i, row] of rows.entries()) all.set(await wideRows(weight, row, 1), i * weight.cols);
  return all;
}

/** Stored columns, one after another. */
async function columnsOf(weight: StoredWeight, columns: readonly number[]): Promise<Float64Array> {
  const { rows, cols } = weight;
  const step = Math.max(1, Math.floor(2 ** 18 / cols));
  const all = new Float64Array(columns.length * rows);
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const portion = await wideRows(weight, first, count);
    for (const [i, column] of columns.entries()) {
      for (let row = 0; row < count; row++) all[i * rows + first + row] = itemAt(portion, row * cols + column);
    }
  }
  return all;
}

/** Stored rows in f64. */
async function wideRows(weight: StoredWeight, first: number, count: number): Promise<Float64Array> {
  const values = new Float64Array(count * weight.cols);
  const bytes = await weight.read(first, count);
  if (bytes.length !== values.length * dtypeBytes(weight.dtype)) throw new RangeError(`${bytes.length} bytes`);
  widenToF64(bytes, weight.dtype, values);
  return values;
}
