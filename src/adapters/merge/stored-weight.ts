import { BLOCK_ROWS } from "../../compute/device/families/delta.ts";
import type { StoredWeight } from "../method/plan.ts";
import { isKernelDtype, type KernelDtype } from "../../compute/device/dtype.ts";
import { dtypeBytes, isFloat, type Dtype, type FloatDtype, isWritableFloat } from "../../files/safetensors/dtype.ts";
import { widenToF32, roundFromF32, roundFromF64, widenToF64 } from "../../files/safetensors/numbers.ts";
import type { TensorSource } from "./plan.ts";
import { RandloraError } from "../../files/errors.ts";

/** Consecutive rows of a matrix. */
export interface RowRange {
  readonly firstRow: number;
  readonly rows: number;
}

/**
 * Bytes of one block on the GPU, roughly: large enough to hide the cost of a dispatch and of the tables of sparse bases, which all
 * rows of a block share; small beside the memory limit.
 */
const BLOCK_BYTES = 4 * 2 ** 20;

/** Times `BLOCK_ROWS` in a block at least, however long its rows: the CPU device makes lists of a sparse basis anew for each block. */
const LEAST_TILES = 2;

/**
 * Splits a matrix into blocks of about `BLOCK_BYTES` that start at multiples of `BLOCK_ROWS`.
 * @param rowBytes of one row in its widest form
 */
export function splitRows(rows: number, rowBytes: number): RowRange[] {
  const most = Math.max(LEAST_TILES, Math.floor(BLOCK_BYTES / rowBytes / BLOCK_ROWS)) * BLOCK_ROWS;
  const blocks: RowRange[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += most) {
    blocks.push({ firstRow, rows: Math.min(most, rows - firstRow) });
  }
  return blocks;
}

/** Rows and columns of a tensor: those of several matrices lie one below the other. */
export function matrixSizes(shape: readonly number[]): readonly [rows: number, cols: number] {
  const cols = shape.at(-1) ?? 0;
  return [shape.slice(0, -1).reduce((product, size) => product * size, 1), cols];
}

/** The dtype in which kernels see a weight: its own, or F32. */
export function readDtype({ dtype }: Pick<TensorSource, "dtype">): KernelDtype {
  return isKernelDtype(dtype) ? dtype : "F32";
}

/**
 * Consecutive rows of a stored weight without gaps, in {@link readDtype}.
 * @param scratch at least their stored bytes; what is returned may be a part of it
 */
export async function readRows(
  source: TensorSource,
  cols: number,
  first: number,
  count: number,
  scratch: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const { dtype, label } = source;
  const stored = dtypeBytes(dtype);
  const bytes = scratch.subarray(0, count * cols * stored);
  await source.read(bytes, first * cols * stored);
  if (isKernelDtype(dtype)) return bytes;
  if (!isFloat(dtype)) throw new TypeError(`${label} is ${dtype}`);
  const widened = new Float32Array(count * cols);
  widenToF32(bytes, dtype, widened);
  return new Uint8Array(widened.buffer);
}

/** A weight (rows, cols) for methods that rescale it. */
export function storedWeight(source: TensorSource, rows: number, cols: number): StoredWeight {
  const bytes = cols * dtypeBytes(source.dtype);
  return {
    rows,
    cols,
    dtype: readDtype(source),
    read: (first, count) => readRows(source, cols, first, count, new Uint8Array(count * bytes)),
  };
}

/** Elements that are converted at a time. */
const PORTION = 1 << 20;

/**
 * A source's elements in another dtype, rounded once, portion by portion; the bytes as they are when the dtypes agree.
 * Integers and BOOL are never converted: a checkpoint's counters stay what they are.
 * @throws RandloraError `numeric` naming file and tensor when finite values overflow `target`, or when an adapter's
 *   own tensor holds NaN or infinity; what the base holds already passes through
 */
export async function convertTensor(
  source: TensorSource,
  target: Dtype,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const from = source.dtype;
  const count = source.bytes / dtypeBytes(from);
  for (let start = 0; start < count; start += PORTION) {
    const length = Math.min(PORTION, count - start);
    const bytes = new Uint8Array(length * dtypeBytes(from));
    await source.read(bytes, start * dtypeBytes(from));
    await write(isFloat(from) ? convertBytes(source, from, bytes, target) : bytes);
  }
}

/**
 * Elements of `source` in another dtype, rounded once; the very same bytes where nothing is to be done or checked.
 * @param from the dtype of `bytes`, which a merge may have widened
 * @throws RandloraError `numeric` as `convertTensor`
 */
export function convertBytes(source: TensorSource, from: FloatDtype, bytes: Uint8Array, target: Dtype): Uint8Array {
  if (from === target && !source.fromAdapter) return bytes;
  const length = bytes.length / dtypeBytes(from);
  const values = from === "F64" ? new Float64Array(length) : new Float32Array(length);
  if (values instanceof Float64Array) widenToF64(bytes, from, values);
  else widenToF32(bytes, from, values);
  const bad = source.fromAdapter ? countNotFinite(values) : 0;
  if (bad > 0) throw divergedTensor(source, bad);
  if (from === target) return bytes;
  if (!isWritableFloat(target)) throw new TypeError(`${source.label}: ${from} cannot become ${target}`);
  const tooLarge = countOverflows(values, target);
  if (tooLarge > 0) throw overflow(source, tooLarge, target);
  const out = new Uint8Array(length * dtypeBytes(target));
  if (values instanceof Float64Array) roundFromF64(values, target, out);
  else roundFromF32(values, target, out);
  return out;
}

/** Elements that are looked at at a time. */
const LOOKED_AT = 1 << 18;

/** The smallest magnitude that rounds to infinity: half a unit beyond the largest finite number. */
const OVERFLOWS: Readonly<Partial<Record<Dtype, number>>> = {
  F32: (2 - 2 ** -24) * 2 ** 127,
  F16: 65520,
  BF16: (2 - 2 ** -8) * 2 ** 127,
};

/** How many finite values become infinite in `target`. */
export function countOverflows(values: Float32Array | Float64Array, target: Dtype): number {
  const limit = OVERFLOWS[target] ?? Infinity;
  let count = 0;
  for (const value of values) if (Math.abs(value) >= limit && Number.isFinite(value)) count++;
  return count;
}

/** How many values are NaN or infinite. */
export function countNotFinite(values: Float32Array | Float64Array): number {
  let count = 0;
  for (const value of values) if (!Number.isFinite(value)) count++;
  return count;
}

/** Finite values of `source` that `dtype` cannot hold. */
export function overflow(source: Pick<TensorSource, "label">, count: number, dtype: Dtype): RandloraError {
  const cause = `${count} of its weights are too large for ${dtype}`;
  return new RandloraError("numeric", `${source.label}: ${cause}`, "give --dtype f32 (or bf16)");
}

/** Values of a tensor that an adapter brings along. */
function divergedTensor(source: TensorSource, count: number): RandloraError {
  const hint = "the training diverged: use an earlier save";
  return new RandloraError("numeric", `${source.label}: ${count} of its values are NaN or infinite`, hint);
}

/**
 * Why `count` merged weights are not finite: the base's own were not, or the sum does not fit `target`. Reads the
 * source again, which only a merge that has failed pays for.
 */
export async function explainNotFinite(source: TensorSource, target: Dtype, count: number): Promise<RandloraError> {
  const before = await notFiniteIn(source);
  if (before > 0) {
    const hint = "the base is damaged: fetch the model again";
    return new RandloraError("numeric", `${source.label}: ${before} of its weights are NaN or infinite`, hint);
  }
  const cause = `with ΔW added, ${count} of its weights are too large for ${target}`;
  const hint = target === "F16" ? "give --dtype f32 (or bf16)" : "the training diverged: use an earlier save";
  return new RandloraError("numeric", `${source.label}: ${cause}`, hint);
}

async function notFiniteIn({ dtype, bytes, read }: TensorSource): Promise<number> {
  if (!isFloat(dtype)) return 0;
  const size = dtypeBytes(dtype);
  let count = 0;
  for (let start = 0; start < bytes / size; start += LOOKED_AT) {
    const length = Math.min(LOOKED_AT, bytes / size - start);
    const portion = new Uint8Array(length * size);
    await read(portion, start * size);
    const values = new Float64Array(length);
    widenToF64(portion, dtype, values);
    count += countNotFinite(values);
  }
  return count;
}
