import { bf16ToF32, f16ToF32, f32ToBf16 } from "../../files/safetensors/numbers.ts";
import { toF16Bits } from "../random/grid.ts";
import type { BlockDtype } from "./dtype.ts";

/*
 * Matrices in blocks, for every device, with llama.cpp's numbers: neighbors of a row are whole numbers q times a scale d, which is an
 * f16 of 32 of them, in MXFP4 a bf16 of as many, or in Q6_K an f32 of 16.
 *
 *   Q8_0   q = −127 … 127, a signed byte each                                        x = d · q
 *   Q4_0   n = 0 … 15, two in a byte: elements 0 … 15 of a block in the low halves   x = d · (n − 8)
 *          of its 16 bytes, elements 16 … 31 in the high ones
 *   Q6_K   q = −32 … 31, a signed byte each, d the product of an f16 and a byte      x = d · q
 *   MXFP4  n = 0 … 15, two in a byte as in Q4_0: a sign and the place of |q| among   x = d · q
 *          0, 1, 2, 3, 4, 6, 8, 12, which is twice an E2M1; d half of an E8M0
 *
 * A matrix of (rows, cols), cols a multiple of 32, lies in one buffer: first the q of all rows, row by row without gaps
 * (cols or cols/2 bytes a row, whole 16 bytes), then, from the byte `Tensor.scalesAt` on, the d of all in the same order. So a
 * matrix takes 34/64, 18/64 or 40/64 of what it takes in bf16, its element number e has the scale number ⌊e/32⌋ or ⌊e/16⌋, and a
 * view of some rows, or of columns from multiples of 32 on, needs nothing of its own.
 *
 * Rows of keys and values (Q8_ROWS) are written, moved and forgotten one by one: each has the q of its blocks of Q8_0, then their d,
 * in whole 16 bytes.
 */

/** Elements of a block; in Q6_K they are two halves. */
export const BLOCK = 32;

/** Bytes of the q of a block. */
export function quantBytes(dtype: BlockDtype): number {
  return dtype === "Q4_0" || dtype === "MXFP4" ? BLOCK / 2 : BLOCK;
}

/** Bytes of the scales of a block. */
export function scaleBytes(dtype: BlockDtype): number {
  return dtype === "Q6_K" ? 8 : 2;
}

/** Can a matrix of so many columns be stored in blocks? What cannot stays as it is, as in llama.cpp. */
export function fitsBlocks(cols: number): boolean {
  return cols % BLOCK === 0;
}

/** Bytes of a row of Q8_ROWS. */
export function q8RowBytes(cols: number): number {
  return Math.ceil((cols + (cols / BLOCK) * 2) / 16) * 16;
}

/** Blocks as a buffer has them. */
export interface Blocks {
  readonly quants: Uint8Array<ArrayBuffer>;
  /** As f16 patterns; of MXFP4 as those of bf16, of Q6_K the halves of f32. */
  readonly scales: Uint16Array<ArrayBuffer>;
}

/**
 * Rounds whole blocks, as `quantize_row_q8_0_ref` and `quantize_row_q4_0_ref` of llama.cpp and `gguf.quants` do: with the
 * f32 scale, of which its f16 is stored. A block with a number that is not finite has a scale that is none. Checks alone
 * round to Q6_K, for whose scales llama.cpp has a search, and to MXFP4.
 */
export function toBlocks(values: Float32Array, dtype: BlockDtype): Blocks {
  const count = values.length / BLOCK;
  const quants = new Uint8Array(count * quantBytes(dtype));
  if (dtype === "Q6_K") {
    const scales = Float32Array.from({ length: 2 * count }, (_, half) => roundQ6(values, half, quants));
    return { quants, scales: new Uint16Array(scales.buffer) };
  }
  const scales = new Uint16Array(count);
  if (dtype === "MXFP4") {
    for (let block = 0; block < count; block++) scales[block] = f32ToBf16(roundMx(values, block, quants));
    return { quants, scales };
  }
  const round = dtype === "Q8_0" ? roundQ8 : roundQ4;
  for (let block = 0; block < count; block++) scales[block] = toF16Bits(round(values, block, quants));
  return { quants, scales };
}

/** The numbers that blocks stand for. */
export function fromBlocks({ quants, scales }: Blocks, dtype: BlockDtype): Float32Array<ArrayBuffer> {
  const values = new Float32Array((scales.length * 2 * BLOCK) / scaleBytes(dtype));
  if (dtype === "Q6_K") {
    const [wide, whole] = [new Float32Array(scales.buffer), new Int8Array(quants.buffer)];
    return values.map((_, at) => (whole[at] ?? 0) * (wide[Math.floor(at / (BLOCK / 2))] ?? 0));
  }
  for (let at = 0; at < values.length; at++) {
    const block = Math.floor(at / BLOCK);
    const byte = quants[dtype === "Q8_0" ? at : block * (BLOCK / 2) + (at % (BLOCK / 2))] ?? 0;
    const half = at % BLOCK >= BLOCK / 2 ? byte >> 4 : byte & 15;
    const scale = scales[block] ?? 0;
    if (dtype === "MXFP4") values[at] = (MX_QUANTS[half] ?? 0) * bf16ToF32(scale);
    else values[at] = (dtype === "Q8_0" ? (byte << 24) >> 24 : half - 8) * f16ToF32(scale);
  }
  return values;
}

/** What the 16 halves of a byte stand for in MXFP4: twice an E2M1 (OCP Microscaling Formats 1.0, 5.3.3). */
const MX_QUANTS: readonly number[] = [0, 1, 2, 3, 4, 6, 8, 12, -0, -1, -2, -3, -4, -6, -8, -12];

/** d = half the power of two of which the largest |x| is 4 to 8, q the nearest, at most 12; returns d. */
function roundMx(values: Float32Array, block: number, quants: Uint8Array): number {
  const own = values.subarray(block * BLOCK, (block + 1) * BLOCK);
  const largest = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const scale = largest === 0 ? 2 ** -126 : 2 ** (Math.floor(Math.log2(largest)) - 3);
  const code = (at: number) => {
    const quotient = (own[at] ?? 0) / scale;
    const distance = (quant: number) => Math.abs(quant - Math.abs(quotient));
    const magnitudes = MX_QUANTS.slice(0, 8);
    const nearest = magnitudes.reduce((best, quant, place) => {
      return distance(quant) < distance(magnitudes[best] ?? 0) ? place : best;
    }, 0);
    return quotient < 0 ? nearest | 8 : nearest;
  };
  for (let i = 0; i < BLOCK / 2; i++) quants[block * (BLOCK / 2) + i] = code(i) | (code(i + BLOCK / 2) << 4);
  return scale;
}

/** d = max |x| / 127, q = x/d rounded to nearest, ties away from zero; returns d. */
function roundQ8(values: Float32Array, block: number, quants: Uint8Array): number {
  const first = block * BLOCK;
  let largest = 0;
  for (let i = first; i < first + BLOCK; i++) largest = Math.max(largest, Math.abs(values[i] ?? 0)); // NaN stays
  const scale = Math.fround(largest / 127);
  const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
  for (let i = first; i < first + BLOCK; i++) {
    const quotient = Math.fround((values[i] ?? 0) * inverse);
    quants[i] = (quotient + (quotient < 0 ? -0.5 : 0.5)) | 0; // towards zero
  }
  return scale;
}

/** d = the number of the largest magnitude / −32, q = x/d rounded to nearest, at most 31; returns d. */
function roundQ6(values: Float32Array, half: number, quants: Uint8Array): number {
  const first = (half * BLOCK) / 2;
  const own = values.subarray(first, first + BLOCK / 2);
  const extreme = own.reduce((most, value) => (Math.abs(value) <= Math.abs(most) ? most : value), 0); // NaN stays
  const scale = Math.fround(extreme / -32);
  own.forEach((value, at) => (quants[first + at] = scale === 0 ? 0 : Math.min(31, Math.round(value / scale))));
  return scale;
}

/** d = the number of the largest magnitude / −8, n = ⌊x/d + 8.5⌋, at most 15; returns d. */
function roundQ4(values: Float32Array, block: number, quants: Uint8Array): number {
  const first = block * BLOCK;
  let extreme = 0;
  for (let i = first; i < first + BLOCK; i++) {
    const value = values[i] ?? 0;
    if (Math.abs(value) > Math.abs(extreme) || Number.isNaN(value)) extreme = value; // nothing is greater than NaN
  }
  const scale = Math.fround(extreme / -8);
  const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
  // Product and sum are rounded apart, as `gguf.quants` does it and C where nothing is fused. None is below 0.
  const quant = (at: number) => Math.min(15, Math.fround(Math.fround((values[at] ?? 0) * inverse) + 8.5) | 0);
  for (let i = 0; i < BLOCK / 2; i++) {
    quants[block * (BLOCK / 2) + i] = quant(first + i) | (quant(first + i + BLOCK / 2) << 4);
  }
  return scale;
}
