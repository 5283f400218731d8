import { roundToGrid } from "./grid.ts";
import type { FloatGrid, Sparsity } from "./names.ts";

const MULTIPLIER_0 = 0xd2511f53 | 0;
const MULTIPLIER_1 = 0xcd9e8d57 | 0;
const WEYL_0 = 0x9e3779b9 | 0;
const WEYL_1 = 0xbb67ae85 | 0;
const ROUNDS = 10;

/** The upper 32 bits of the unsigned product, from 16-bit limbs as in WGSL; no sum exceeds 2^32. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16);
  const lower = (middle & 0xffff) + Math.imul(aLow, bHigh);
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (lower >>> 16)) | 0;
}

/**
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011; Random123): four 32-bit words of `out` from a counter and a key.
 * The key is two 32-bit words, the counter four.
 */
export function philox4x32(
  out: Uint32Array,
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): void {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0);
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + WEYL_0) | 0;
    k1 = (k1 + WEYL_1) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** The key of a seed, −2^63 ≤ seed < 2^64: its low and high 32 bits. */
export function philoxKey(seed: bigint): readonly [low: number, high: number] {
  const bits = BigInt.asUintN(64, seed);
  return [Number(bits & 0xffffffffn), Number(bits >> 32n)];
}

/** Byte `lane`, 0 to 15, of the words of a block. */
export function philoxByte(words: Uint32Array, lane: number): number {
  return ((words[lane >>> 2] as number) >>> ((lane & 3) * 8)) & 0xff;
}

/** One stream of philox-v1: everything that, with an index, determines an element. */
export interface PhiloxStream {
  /** Low and high 32 bits of the basis seed. */
  readonly key: readonly [number, number];
  /** 0 for A, 1 for B. */
  readonly stream: 0 | 1;
  readonly sparsity: Sparsity;
  /** The grid that elements are rounded to, from their f32 values. */
  readonly grid: FloatGrid;
  /** The size of a nonzero ternary element, on the grid; for dense a power of two, which elements are multiplied by. */
  readonly scale: number;
  /** Very sparse: u < threshold → −1, u ≥ 65536 − threshold → +1, else 0 (u of 16 bits); 0 otherwise. */
  readonly threshold: number;
}

/**
 * √(765/257)/255 as a number of 13 bits and the f32 rest. (2b − 255)·HIGH is exact in f32, so HIGH and LOW terms, added
 * once, give the f32 nearest to the true value for each of the 256 bytes, fused multiply-add or not: the GPU cannot differ.
 */
const DENSE_HIGH = 0.006765842437744141; // 0x1.bb68p-8
const DENSE_LOW = 3.2649047909671935e-8; // 0x1.187404p-25

/** The 256 dense elements, by their bytes. */
const DENSE_F32 = Float32Array.from({ length: 256 }, (_, byte) => {
  const odd = 2 * byte - 255;
  return Math.fround(odd * DENSE_HIGH) + Math.fround(odd * DENSE_LOW);
});
const DENSE: Readonly<Record<FloatGrid, Float32Array>> = {
  f32: DENSE_F32,
  bf16: DENSE_F32.map((value) => roundToGrid(value, "bf16")),
  f16: DENSE_F32.map((value) => roundToGrid(value, "f16")),
};

/**
 * The stream of basis A (0) or B (1) for a basis seed, at the sparsity and smaller dimension the bases are drawn at.
 * @param grid of the elements; f32 has them as they are defined
 */
export function philoxStream(
  seed: bigint,
  stream: 0 | 1,
  sparsity: Sparsity,
  min: number,
  grid: FloatGrid = "f32",
): PhiloxStream {
  const key = philoxKey(seed);
  const threshold = sparsity === "very-sparse" ? Math.round(32768 / Math.sqrt(min)) : 0;
  let scale = 1;
  if (sparsity === "sparse") scale = roundToGrid(Math.sqrt(128 / 43), grid);
  if (sparsity === "very-sparse") scale = roundToGrid(Math.sqrt(32768 / threshold), grid);
  return { key, stream, sparsity, grid, scale, threshold };
}

/** Elements that one counter block of 128 bits holds: 16 bytes, or 8 numbers of 16 bits. */
export function philoxBlockElements(sparsity: Sparsity): 8 | 16 {
  return sparsity === "very-sparse" ? 8 : 16;
}

/** An element from the words of its block. */
function blockElement(words: Uint32Array, lane: number, stream: PhiloxStream, dense: Float32Array): number {
  if (stream.sparsity === "very-sparse") {
    const bits = ((words[lane >>> 1] as number) >>> ((lane & 1) * 16)) & 0xffff;
    return ((bits >= 65536 - stream.threshold ? 1 : 0) - (bits < stream.threshold ? 1 : 0)) * stream.scale;
  }
  const byte = philoxByte(words, lane);
  if (stream.sparsity === "dense") return (dense[byte] as number) * stream.scale;
  return ((byte > 212 ? 1 : 0) - (byte < 43 ? 1 : 0)) * stream.scale;
}

const blockWords = new Uint32Array(4);

function drawBlock(stream: PhiloxStream, block: number): void {
  philox4x32(blockWords, [block % 2 ** 32, Math.floor(block / 2 ** 32), stream.stream, 0], stream.key);
}

/** Element `index` (flat, in PEFT's memory order: A (r, min), B (max, n, r)) of a stream; their standard deviation is 1. */
export function philoxElement(stream: PhiloxStream, index: number): number {
  const perBlock = philoxBlockElements(stream.sparsity);
  drawBlock(stream, Math.floor(index / perBlock));
  return blockElement(blockWords, index % perBlock, stream, DENSE[stream.grid]);
}

/** Elements `index .. index + out.length` of a stream. */
export function philoxFill(stream: PhiloxStream, index: number, out: Float32Array): void {
  const perBlock = philoxBlockElements(stream.sparsity);
  const dense = DENSE[stream.grid];
  let lane = index % perBlock;
  let block = Math.floor(index / perBlock);
  for (let i = 0; i < out.length; i++) {
    if (i === 0 || lane === 0) drawBlock(stream, block);
    out[i] = blockElement(blockWords, lane, stream, dense);
    if (++lane === perBlock) {
      lane = 0;
      block++;
    }
  }
}
