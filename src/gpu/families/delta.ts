import type { Binding } from "../../device/buffer.ts";
import { BLOCK_ROWS, type Delta, type DeltaBasis, type DeltaBlock, padded4 } from "../../device/families/delta.ts";
import type { Tensor } from "../../device/tensor.ts";
import { deltaKernel, deltaParameters } from "../../kernels/delta.ts";
import { productTile } from "../../kernels/product.ts";
import type { FloatGrid } from "../../random/names.ts";
import { rowBlocks } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";

/** Bits of f32 that a grid lacks. */
const DROPPED_BITS: Readonly<Record<FloatGrid, number>> = { f32: 0, f16: 13, bf16: 16 };

/** A target above the binding limit is taken in blocks of rows, and so is B̂. */
export function delta(on: Dispatcher, operands: Delta): void {
  const { target, at = 0, pitch, rows, firstRow } = operands.block;
  const cols = operands.transposed ? operands.rows : operands.cols;
  const whole: Tensor = { shape: [rows, cols], dtype: "F32", buffer: target, offset: at, pitch };
  const fitting = rowBlocks(on, whole)[0]?.rows ?? rows;
  // Blocks begin at whole tiles.
  const most = fitting >= rows ? rows : Math.max(1, Math.floor(fitting / BLOCK_ROWS)) * BLOCK_ROWS;
  for (const { first, rows: count, binding, offset } of rowBlocks(on, whole, most)) {
    block(on, operands, { ...operands.block, firstRow: firstRow + first, rows: count, at: offset }, binding);
  }
}

/** A block of rows that can be bound. */
function block(on: Dispatcher, operands: Delta, rows: DeltaBlock, target: Binding): void {
  const { a, b, lambda, gamma, pairing, transposed } = operands;
  const philox = b.philox ?? a.philox;
  const kernel = deltaKernel({ a: a.storage, b: b.storage, pairing, staging: on.staging });
  for (const part of partsOf(on, operands, rows)) {
    // The kernel counts rows from the first of its dispatch, but where they are columns of W from the matrix's.
    const skipped = transposed ? 0 : (part.firstRow - rows.firstRow) * rows.pitch;
    const parameters = deltaParameters({
      rows: part.rows,
      cols: part.cols,
      terms: operands.terms,
      fastCount: operands.fastCount,
      firstRow: part.firstRow,
      firstCol: part.firstCol,
      bStride: b.stride,
      aStride: a.stride,
      gammaStride: padded4(operands.cols),
      targetPitch: rows.pitch,
      transposed,
      accumulate: rows.accumulate === true,
      scale: operands.scale * a.value * b.value,
      threshold: philox?.threshold ?? 0,
      key: philox?.key ?? [0, 0],
      dense: philox?.sparsity === "dense",
      aDrawn: a.philox?.pitch ?? 0,
      bDrawn: b.philox?.pitch ?? 0,
      targetAt: (rows.at ?? 0) + skipped,
      dropped: DROPPED_BITS[philox?.grid ?? "f32"],
    });
    on.dispatch(kernel, parameters, [part.b, a.buffer, gamma, lambda, target], part.groups);
  }
}

/** One dispatch: rows × cols of B̂Ŝ. */
interface DeltaPart {
  readonly firstRow: number;
  readonly rows: number;
  readonly firstCol: number;
  readonly cols: number;
  readonly b: Binding;
  readonly groups: readonly [number, number];
}

/** Splits a block so that no binding of B̂ exceeds the GPU's limit. */
function partsOf(on: Dispatcher, operands: Delta, block: DeltaBlock): DeltaPart[] {
  const { b, transposed } = operands;
  const tile = productTile(on.staging);
  const rowBytes = basisRowBytes(b);
  const most = fittingRows(on, b);
  const [from, count] = transposed ? [0, operands.rows] : [block.firstRow, block.rows];
  const cols = transposed ? block.rows : operands.cols;
  const parts: DeltaPart[] = [];
  for (let firstRow = from; firstRow < from + count; firstRow += most) {
    const rows = Math.min(most, from + count - firstRow);
    parts.push({
      firstRow,
      rows,
      firstCol: transposed ? block.firstRow : 0,
      cols,
      b: b.philox === undefined ? { of: b.buffer, offset: firstRow * rowBytes, size: rows * rowBytes } : b.buffer,
      groups: [Math.ceil(cols / tile.cols), Math.ceil(rows / tile.rows)],
    });
  }
  return parts;
}

/** Rows of B̂ that one dispatch can read, a multiple of `BLOCK_ROWS`. */
function fittingRows({ gpu }: Dispatcher, b: DeltaBasis): number {
  // The kernel counts stored elements in 32 bits; two-bit ones reach that before the binding's limit.
  const fitting = Math.min(gpu.limits.maxStorageBufferBindingSize / basisRowBytes(b), (2 ** 32 - 1) / b.stride);
  return Math.max(1, Math.floor(fitting / BLOCK_ROWS)) * BLOCK_ROWS;
}

/** Bytes from one row to the next; what is drawn binds a buffer of a few. */
function basisRowBytes({ storage, stride }: DeltaBasis): number {
  if (storage === "philox") return 4;
  if (storage === "ternary") return stride / 4;
  return stride * (storage === "f32" ? 4 : 2);
}
