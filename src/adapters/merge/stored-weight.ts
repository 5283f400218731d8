import { BLOCK_ROWS } from "../../compute/device/families/delta.ts";
import type { StoredWeight } from "../method/plan.ts";
import { isKernelDtype, type KernelDtype } from "../../compute/device/dtype.ts";
import { dtypeBytes, isFloat } from "../../files/safetensors/dtype.ts";
import { widenToF32 } from "../../files/safetensors/numbers.ts";
import type { TensorSource } from "./plan.ts";

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
