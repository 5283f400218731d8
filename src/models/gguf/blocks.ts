import { BLOCK, type Blocks, fromBlocks, quantBytes, toBlocks } from "../../compute/device/blocks.ts";
import type { BlockDtype } from "../../compute/device/dtype.ts";

/** Bytes of the scale that stands before the numbers of each block. */
const SCALE_BYTES = 2;

/** Bytes that so many numbers take, a multiple of 32. */
export function blockBytes(count: number, dtype: BlockDtype): number {
  return (count / BLOCK) * (SCALE_BYTES + quantBytes(dtype));
}

/** Rounds rows of whole blocks to the bytes that a GGUF file has: each block's f16 scale, then its numbers. */
export function packBlocks(values: Float32Array, dtype: BlockDtype): Uint8Array<ArrayBuffer> {
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
export function splitBlocks(bytes: Uint8Array, dtype: BlockDtype): Blocks {
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
