import { RandloraError } from "../../files/errors.ts";
import type { Binding } from "../device/buffer.ts";
import { BLOCK, scaleBytes } from "../device/blocks.ts";
import { isBlockDtype } from "../device/dtype.ts";
import { elementBytes, type Matrix, type Tensor } from "../device/tensor.ts";
import type { GpuLimits } from "./limits.ts";
import { FEWER_TOKENS_HINT } from "./stream.ts";

/** What is recorded on, as far as bindings go. */
export interface OnGpu {
  readonly gpu: { readonly limits: GpuLimits };
}

/** The binding of a whole tensor: kernels find its first element by `offset`. */
export function whole(on: OnGpu, tensor: Tensor): Binding {
  const { buffer } = tensor;
  const most = on.gpu.limits.maxStorageBufferBindingSize;
  if (buffer.size <= most) return buffer;
  const { label, size } = buffer;
  throw new RandloraError(
    "memory",
    `${label}: ${Math.ceil(size / 2 ** 20)} MB, and this GPU binds at most ${Math.floor(most / 2 ** 20)} MB at once`,
    FEWER_TOKENS_HINT,
  );
}

/** A part of a matrix that fits into one binding. */
export interface RowBlock {
  readonly first: number;
  readonly rows: number;
  readonly binding: Binding;
  /** Elements from the binding's begin to the block's first one, and from row to row. */
  readonly offset: number;
  readonly pitch: number;
}

/** Splits a matrix into blocks of rows that the GPU can bind; a matrix that fits is one block. */
export function rowBlocks(on: OnGpu, tensor: Matrix, most = Infinity): RowBlock[] {
  const limit = on.gpu.limits.maxStorageBufferBindingSize;
  const [rows] = tensor.shape;
  const { buffer, offset, pitch, dtype } = tensor;
  if (buffer.size <= limit && rows <= most) return [{ first: 0, rows, binding: buffer, offset, pitch }];
  const rowBytes = pitch * elementBytes(dtype);
  const align = on.gpu.limits.minStorageBufferOffsetAlignment;
  const perBlock = Math.max(1, Math.min(Math.floor((limit - align) / rowBytes / 32) * 32, most));
  const blocks: RowBlock[] = [];
  for (let first = 0; first < rows; first += perBlock) {
    const count = Math.min(perBlock, rows - first);
    const begin = (offset + first * pitch) * elementBytes(dtype);
    const aligned = Math.floor(begin / align) * align;
    const size = Math.min(buffer.size - aligned, Math.ceil((begin - aligned + count * rowBytes) / 4) * 4);
    const binding = { of: buffer, offset: aligned, size };
    blocks.push({ first, rows: count, binding, offset: (begin - aligned) / elementBytes(dtype), pitch });
  }
  return blocks;
}

/**
 * What kernels need beside a block of rows whose elements share scales (matrix.wgsl): the binding of the scales, and where
 * in it those of the binding's first element lie, in blocks. Nothing for other formats.
 */
export function scalesOf(
  on: OnGpu,
  { buffer, dtype, pitch, offset, scalesAt }: Matrix,
  block: Pick<RowBlock, "first" | "offset">,
): { readonly at: number; readonly bindings: readonly Binding[] } {
  if (scalesAt === undefined || !isBlockDtype(dtype)) return { at: 0, bindings: [] };
  const align = on.gpu.limits.minStorageBufferOffsetAlignment;
  const begin = Math.floor(scalesAt / align) * align;
  const firstElement = offset + block.first * pitch - block.offset;
  const size = Math.ceil((buffer.size - begin) / 4) * 4;
  return {
    at: (scalesAt - begin) / scaleBytes(dtype) + firstElement / BLOCK,
    bindings: [{ of: buffer, offset: begin, size }],
  };
}

/** The same as kernels declare it: where the scales begin, and their binding. */
export function boundScales(on: OnGpu, matrix: Matrix, block: Pick<RowBlock, "first" | "offset">) {
  const { at: scalesAt, bindings } = scalesOf(on, matrix, block);
  return { scalesAt, scales: bindings[0] };
}

/** A tensor that fits into one binding. */
export function bind(on: OnGpu, tensor: Matrix): RowBlock {
  const [block, more] = rowBlocks(on, tensor);
  if (block === undefined || more !== undefined) throw new Error(`${tensor.buffer.label}: does not fit into a binding`);
  return block;
}
