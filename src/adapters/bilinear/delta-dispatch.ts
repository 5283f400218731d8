import type { Gpu } from "../../gpu/gpu.ts";
import type { GpuBuffer } from "../../gpu/memory.ts";
import type { Binding, Workgroups } from "../../gpu/stream.ts";
import { deltaParameters } from "../../kernels/delta.ts";
import type { FloatGrid } from "../../random/names.ts";
import { BLOCK_ROWS, type DeltaBlock } from "./delta-block.ts";
import type { PhiloxStorage } from "../../bases/storage.ts";
import type { Tile } from "../../kernels/product.ts";

/** A matrix of random or trained numbers in GPU memory, and what the kernel's parameters say of it. */
export interface BasisOnGpu {
  readonly buffer: GpuBuffer;
  /** Elements from one row to the next. */
  readonly stride: number;
  readonly rowBytes: number;
  /** What the kernel's ±1, or its dense draws, are multiplied by; 1 where it reads true values. */
  readonly value: number;
  /** How the elements are drawn, where none are stored. */
  readonly philox: PhiloxStorage | undefined;
}

/** Bits of f32 that a grid lacks. */
const DROPPED_BITS: Readonly<Record<FloatGrid, number>> = { f32: 0, f16: 13, bf16: 16 };

/** One ΔW as delta.wgsl computes it: scale · B̂ (rows, terms) · Ŝ (terms, cols), or the transpose of that. */
export interface DeltaOperands {
  readonly b: BasisOnGpu;
  readonly a: BasisOnGpu;
  /** In the order of the terms, zeros up to a multiple of 16. */
  readonly lambda: Binding;
  /** Rows padded to whole vectors of 4. */
  readonly gamma: Binding;
  readonly rows: number;
  readonly cols: number;
  readonly terms: number;
  /** Rows of the operand whose row changes with every term. */
  readonly fastCount: number;
  /** B̂'s rows run along the columns of the stored weight. */
  readonly transposed: boolean;
  readonly scale: number;
}

/** What one dispatch takes. */
export interface DeltaDispatch {
  readonly parameters: Uint32Array<ArrayBuffer>;
  readonly buffers: readonly Binding[];
  readonly workgroups: Workgroups;
}

/** Elements of a row padded to whole vectors of 4. */
export function padded4(count: number): number {
  return Math.ceil(count / 4) * 4;
}

/** Rows of B̂ that one dispatch can read, a multiple of `BLOCK_ROWS`. */
function fittingRows(gpu: Gpu, { rowBytes, stride }: BasisOnGpu): number {
  // The kernel counts stored elements in 32 bits; two-bit ones reach that before the binding's limit.
  const fitting = Math.min(gpu.limits.maxStorageBufferBindingSize / rowBytes, (2 ** 32 - 1) / stride);
  return Math.max(1, Math.floor(fitting / BLOCK_ROWS)) * BLOCK_ROWS;
}

/** The dispatches for one block of rows of W. */
export function deltaDispatches(gpu: Gpu, tile: Tile, operands: DeltaOperands, block: DeltaBlock): DeltaDispatch[] {
  const { a, b, lambda, gamma } = operands;
  const philox = b.philox ?? a.philox;
  return partsOf(gpu, tile, operands, block).map((part) => {
    // The kernel counts rows from the first of its dispatch, but where they are columns of W from the matrix's.
    const skipped = operands.transposed ? 0 : (part.firstRow - block.firstRow) * block.pitch;
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
      targetPitch: block.pitch,
      transposed: operands.transposed,
      accumulate: block.accumulate === true,
      scale: operands.scale * a.value * b.value,
      threshold: philox?.threshold ?? 0,
      key: philox === undefined ? [0, 0] : [philox.key[0], philox.key[1]],
      dense: philox?.sparsity === "dense",
      aDrawn: a.philox?.pitch ?? 0,
      bDrawn: b.philox?.pitch ?? 0,
      targetAt: (block.at ?? 0) + skipped,
      dropped: DROPPED_BITS[philox?.grid ?? "f32"],
    });
    return { parameters, buffers: [part.b, a.buffer, gamma, lambda, block.target], workgroups: part.groups };
  });
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
function partsOf(gpu: Gpu, tile: Tile, operands: DeltaOperands, block: DeltaBlock): DeltaPart[] {
  const { b, transposed } = operands;
  const most = fittingRows(gpu, b);
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
      b: b.philox === undefined ? { of: b.buffer, offset: firstRow * b.rowBytes, size: rows * b.rowBytes } : b.buffer,
      groups: [Math.ceil(cols / tile.cols), Math.ceil(rows / tile.rows)],
    });
  }
  return parts;
}
