import { type Blocks, toBlocks } from "../compute/device/blocks.ts";
import type { BlockDtype, KernelDtype } from "../compute/device/dtype.ts";
import { elementBytes, type Tensor } from "../compute/tensor/tensor.ts";
import type { TensorReader } from "../files/safetensors/checkpoint.ts";
import { dtypeBytes, type FloatDtype, isFloat } from "../files/safetensors/dtype.ts";
import { roundFromF32, widenToF32 } from "../files/safetensors/numbers.ts";
import { blockBytes, splitBlocks } from "./gguf-blocks.ts";

/**
 * Numbers of a tensor in blocks: the blocks of the checkpoint, where it has some of this format.
 * @param first the first number, and how many: whole blocks of the file
 */
export async function readBlocks(
  checkpoint: TensorReader,
  name: string,
  format: BlockDtype,
  first: number,
  count: number,
): Promise<Blocks> {
  const { dtype, blocks } = checkpoint.get(name).info;
  if (blocks?.dtype === format) {
    const bytes = new Uint8Array(blockBytes(count, format));
    await checkpoint.readBlocks(name, bytes, blockBytes(first, format));
    return splitBlocks(bytes, format);
  }
  if (!isFloat(dtype)) throw new Error(`${name}: ${dtype} was let through`);
  const source = new Uint8Array(count * dtypeBytes(dtype));
  await checkpoint.read(name, source, first * dtypeBytes(dtype));
  return toBlocks(widened(source, dtype, count), format);
}

/** The same numbers in the dtype of `tensor`, rounded to `grid` first, where that is the narrower one. */
export function converted(
  source: Uint8Array,
  dtype: FloatDtype,
  grid: KernelDtype,
  tensor: Tensor,
  count: number,
): Uint8Array<ArrayBuffer> {
  const values = widened(source, dtype, count);
  if (grid === "F32") return new Uint8Array(values.buffer);
  const rounded = new Uint8Array(count * elementBytes(grid));
  roundFromF32(values, grid, rounded);
  if (tensor.dtype === grid) return rounded;
  widenToF32(rounded, grid, values);
  return new Uint8Array(values.buffer);
}

function widened(source: Uint8Array, dtype: FloatDtype, count: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  widenToF32(source, dtype, values);
  return values;
}
