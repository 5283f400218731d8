import { type Blocks, fromBlocks, quantBytes, toBlocks } from "../compute/device/blocks.ts";
import type { BlockDtype, KernelDtype, RoundedDtype } from "../compute/device/dtype.ts";
import { elementBytes, type Tensor } from "../compute/tensor/tensor.ts";
import type { TensorReader } from "../files/safetensors/checkpoint.ts";
import { dtypeBytes, type FloatDtype, isFloat } from "../files/safetensors/dtype.ts";
import { f16ToF32, f32ToBf16, roundFromF32, widenToF32 } from "../files/safetensors/numbers.ts";
import { transpose } from "../files/safetensors/transpose.ts";
import { turned } from "./tensor-plan.ts";
import { GGUF_TYPES } from "../files/gguf/format.ts";

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

/** Bytes of the scale that stands before the numbers of each block. */
const SCALE_BYTES = 2;

/** Bytes that so many numbers take, whole blocks. */
export function blockBytes(count: number, dtype: BlockDtype): number {
  const { bytes, elements } = GGUF_TYPES[dtype];
  return (count / elements) * bytes;
}

/** Rounds rows of whole blocks to the bytes that a GGUF file has: each block's f16 scale, then its numbers. */
export function packBlocks(values: Float32Array, dtype: RoundedDtype): Uint8Array<ArrayBuffer> {
  const { quants, scales } = toBlocks(values, dtype);
  const size = quantBytes(dtype);
  const bytes = new Uint8Array(scales.length * (SCALE_BYTES + size));
  for (let block = 0, at = 0; block < scales.length; block++, at += SCALE_BYTES + size) {
    const scale = scales[block] ?? 0;
    bytes[at] = scale & 255;
    bytes[at + 1] = scale >> 8;
    bytes.set(quants.subarray(block * size, (block + 1) * size), at + SCALE_BYTES);
  }
  return bytes;
}

/** The numbers that a GGUF file's blocks stand for. */
export function unpackBlocks(bytes: Uint8Array, dtype: BlockDtype): Float32Array<ArrayBuffer> {
  return fromBlocks(splitBlocks(bytes, dtype), dtype);
}

/** A GGUF file's blocks as a device has them. */
function splitBlocks(bytes: Uint8Array, dtype: BlockDtype): Blocks {
  if (dtype === "Q6_K") return splitQ6(bytes);
  if (dtype === "MXFP4") return splitMx(bytes);
  const size = quantBytes(dtype);
  const count = bytes.length / (SCALE_BYTES + size);
  const quants = new Uint8Array(count * size);
  const scales = new Uint16Array(count);
  for (let block = 0, at = 0; block < count; block++, at += SCALE_BYTES + size) {
    scales[block] = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
    quants.set(bytes.subarray(at + SCALE_BYTES, at + SCALE_BYTES + size), block * size);
  }
  return { quants, scales };
}

/** MXFP4 (`block_mxfp4` of ggml-common.h): of 32 numbers the exponent of their scale, then their halves of bytes as those of Q4_0. */
function splitMx(bytes: Uint8Array): Blocks {
  const size = quantBytes("MXFP4");
  const count = bytes.length / (1 + size);
  const quants = new Uint8Array(count * size);
  const scales = new Uint16Array(count);
  for (let block = 0, at = 0; block < count; block++, at += 1 + size) {
    scales[block] = HALF_SCALES[bytes[at] ?? 0] ?? 0;
    quants.set(bytes.subarray(at + 1, at + 1 + size), block * size);
  }
  return { quants, scales };
}

/** Half of each E8M0, 2^(e − 127), as bf16; the last one is NaN. */
const HALF_SCALES = Uint16Array.from({ length: 256 }, (_, e) => f32ToBf16(e === 255 ? NaN : 2 ** (e - 128)));

/**
 * Q6_K (`block_q6_K` of ggml-common.h, `dequantize_row_q6_K`): 256 numbers, which are low halves of a byte (128 bytes), upper two
 * bits (64 bytes), a signed byte of scale for each 16 and an f16 for all. Of each 128, bits 0 and 1 of the upper ones belong to the first
 * 32 numbers, and so on; the low halves of 64 bytes to the first 64, the high halves to the others.
 */
function splitQ6(bytes: Uint8Array): Blocks {
  const { bytes: size, elements } = GGUF_TYPES.Q6_K;
  const count = bytes.length / size;
  const quants = new Uint8Array(count * elements);
  const scales = new Float32Array((count * elements) / 16);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let block = 0; block < count; block++) {
    const at = block * size;
    const d = f16ToF32(view.getUint16(at + 208, true));
    for (let part = 0; part < 16; part++) scales[block * 16 + part] = d * view.getInt8(at + 192 + part);
    for (let number = 0; number < elements; number++) {
      const [half, inner] = [number >> 7, number & 127];
      const low = (bytes[at + half * 64 + (inner & 63)] ?? 0) >> (inner < 64 ? 0 : 4);
      const high = (bytes[at + 128 + half * 32 + (inner & 31)] ?? 0) >> (2 * (inner >> 5));
      quants[block * elements + number] = ((low & 15) | ((high & 3) << 4)) - 32;
    }
  }
  return { quants, scales: new Uint16Array(scales.buffer) };
}
