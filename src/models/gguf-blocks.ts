import { type Blocks, fromBlocks, quantBytes, toBlocks } from "../compute/device/blocks.ts";
import type { BlockDtype, RoundedDtype } from "../compute/device/dtype.ts";
import { GGUF_TYPES } from "../files/gguf/format.ts";
import { f16ToF32, f32ToBf16 } from "../files/safetensors/numbers.ts";

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
export function splitBlocks(bytes: Uint8Array, dtype: BlockDtype): Blocks {
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
