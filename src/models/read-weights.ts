import { type Blocks, toBlocks } from "../compute/device/blocks.ts";
import type { BlockDtype, KernelDtype } from "../compute/device/dtype.ts";
import { elementBytes, type Tensor } from "../compute/tensor/tensor.ts";
import type { TensorReader } from "../files/safetensors/checkpoint.ts";
import { dtypeBytes, type FloatDtype, isFloat } from "../files/safetensors/dtype.ts";
import { roundFromF32, widenToF32 } from "../files/safetensors/numbers.ts";
import { blockBytes, splitBlocks } from "./gguf-blocks.ts";
import { transpose } from "../files/safetensors/transpose.ts";
import { turned } from "./tensor-plan.ts";

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

/**
 * A checkpoint whose tensor `name`, one matrix or several, is read as its transpose, a matrix at a time. Blocks are those of the
 * transpose already.
 */
export function withTransposed(checkpoint: TensorReader, name: string): TensorReader {
  const stored = checkpoint.get(name);
  const { shape, dtype } = stored.info;
  const [rows = 0, cols = 0] = shape.slice(-2);
  const size = dtypeBytes(dtype);
  const each = rows * cols * size;
  // The matrix that was read last.
  let held: { readonly at: number; readonly bytes: Uint8Array } | undefined;
  const matrix = async (at: number) => {
    if (held?.at === at) return held.bytes;
    const bytes = new Uint8Array(each);
    await checkpoint.read(name, bytes, at * each);
    held = { at, bytes: transpose(bytes, rows, cols, size) };
    return held.bytes;
  };
  const own = { ...stored, info: { ...stored.info, shape: turned(shape) } };
  return {
    folder: checkpoint.folder,
    tensors: new Map([[name, own]]),
    get: () => own,
    async read(_, out, start = 0) {
      for (let filled = 0; filled < out.length;) {
        const at = Math.floor((start + filled) / each);
        const from = start + filled - at * each;
        const part = (await matrix(at)).subarray(from, from + out.length - filled);
        out.set(part, filled);
        filled += part.length;
      }
    },
    readBlocks: (_, out, start) => checkpoint.readBlocks(name, out, start),
  };
}
