import { dtypeBytes } from "../../../files/safetensors/dtype.ts";
import { itemAt } from "../../../files/item-at.ts";
import { widenToF64 } from "../../../files/safetensors/numbers.ts";
import type { DeltaSample } from "../../method/sample.ts";
import type { SampledWeight, StoredWeight } from "../../method/plan.ts";

/** A rescaled layer, in f64. */
export interface RescaledReference {
  /** m (out). */
  readonly magnitude: ArrayLike<number>;
  readonly conv1d: boolean;
  /** ΔW at rows of (out, in), and columns of it, row-major. */
  delta(rows: readonly number[], cols: readonly number[]): Promise<Float64Array>;
  readonly weight: SampledWeight;
}

/** c · (onto + ΔW) − onto with c = m / ‖W + ΔW‖, at a sample of (out, in), row-major. A row of zeros stays one. */
export async function magnitudeReference(
  { magnitude, conv1d, delta, weight }: RescaledReference,
  { rows, cols }: DeltaSample,
): Promise<Float64Array> {
  const input = conv1d ? weight.rows : weight.cols;
  const whole = Array.from({ length: input }, (_, col) => col);
  const { onto } = weight;
  const change = new Float64Array(rows.length * cols.length);
  const before = conv1d ? await columnsOf(weight, rows) : await rowsOf(weight, rows);
  const added = await delta(rows, whole);
  for (const [i, row] of rows.entries()) {
    let squares = 0;
    for (let k = i * input; k < (i + 1) * input; k++) squares += (itemAt(before, k) + itemAt(added, k)) ** 2;
    const factor = squares === 0 ? 0 : itemAt(magnitude, row) / Math.sqrt(squares);
    for (const [j, col] of cols.entries()) {
      const at = i * cols.length + j;
      const old = itemAt(onto, at);
      change[at] = factor * (old + itemAt(added, i * input + col)) - old;
    }
  }
  return change;
}

/** Stored rows, one after another. */
async function rowsOf(weight: StoredWeight, rows: readonly number[]): Promise<Float64Array> {
  const all = new Float64Array(rows.length * weight.cols);
  for (const [i, row] of rows.entries()) all.set(await wide(weight, row, 1), i * weight.cols);
  return all;
}

/** Stored columns, one after another. */
async function columnsOf(weight: StoredWeight, columns: readonly number[]): Promise<Float64Array> {
  const { rows, cols } = weight;
  const step = Math.max(1, Math.floor(2 ** 18 / cols));
  const all = new Float64Array(columns.length * rows);
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const portion = await wide(weight, first, count);
    for (const [i, column] of columns.entries()) {
      for (let row = 0; row < count; row++) all[i * rows + first + row] = itemAt(portion, row * cols + column);
    }
  }
  return all;
}

async function wide(weight: StoredWeight, first: number, count: number): Promise<Float64Array> {
  const values = new Float64Array(count * weight.cols);
  const bytes = await weight.read(first, count);
  if (bytes.length !== values.length * dtypeBytes(weight.dtype)) throw new RangeError(`${bytes.length} bytes`);
  widenToF64(bytes, weight.dtype, values);
  return values;
}
