import { roundToBf16, roundToF16, roundToGrid, toHalfBits } from "./grid.ts";

/** Generators whose elements are 16-bit numbers. */
export type HalfGenerator =
  | "torch-mt19937-bf16-v1"
  | "torch-mt19937-bf16-v2"
  | "torch-mt19937-f16-v1"
  | "torch-mt19937-f16-v2";

/** Turns `count` 32-bit draws into 16-bit patterns at `out[at..]`. */
export type HalfMap = (draws: Uint32Array, count: number, out: Uint16Array, at: number) => void;

/** How `count` 32-bit draws become single-precision numbers at `out[at..]`. */
export interface SingleUniform {
  map(draws: Uint32Array, count: number, out: Float32Array, at: number): void;
  /** The same, each divided by `divisor` in single precision. */
  mapAndDivide(draws: Uint32Array, count: number, divisor: number, out: Float32Array, at: number): void;
}

/**
 * The bound of `torch.nn.init.kaiming_uniform_(a=slope)` for a fan-in, as a double: √3 · (√(2 / (1 + a²)) / √fan), in
 * torch's order of operations.
 */
export function kaimingUniformBound(fan: number, slope = Math.sqrt(5)): number {
  const gain = Math.sqrt(2 / (1 + slope * slope));
  return Math.sqrt(3) * (gain / Math.sqrt(fan));
}

/** The 16-bit dtype that a generator draws in. */
export function halfDtype(generator: HalfGenerator): "bf16" | "f16" {
  return generator === "torch-mt19937-bf16-v1" || generator === "torch-mt19937-bf16-v2" ? "bf16" : "f16";
}

/** How `torch.Tensor.uniform_(−bound, bound)` maps draws to a 16-bit dtype. */
export function halfUniform(generator: HalfGenerator, bound: number): HalfMap {
  switch (generator) {
    case "torch-mt19937-bf16-v1":
      return tabulated("bf16", 8, bound);
    case "torch-mt19937-f16-v1":
      return tabulated("f16", 11, bound);
    case "torch-mt19937-bf16-v2":
      return fusedHalf(bound, "bf16");
    case "torch-mt19937-f16-v2":
      return fusedHalf(bound, "f16");
  }
}

/** Up to torch 2.6: as many random bits as the dtype has significant ones, so few values that a table holds them all. */
function tabulated(dtype: "bf16" | "f16", bits: number, bound: number): HalfMap {
  const low = roundToGrid(-bound, dtype);
  const width = roundToGrid(roundToGrid(bound, dtype) - low, dtype);
  const size = 2 ** bits;
  const table = new Uint16Array(size);
  for (let i = 0; i < size; i++) table[i] = toHalfBits(Math.fround(Math.fround((i / size) * width) + low), dtype);
  const mask = size - 1;
  return (draws, count, out, at) => {
    for (let i = 0; i < count; i++) out[at + i] = table[(draws[i] as number) & mask] as number;
  };
}

const CHUNK = 4096;
const singles = new Float32Array(CHUNK);
const singlesBits = new Int32Array(singles.buffer);

/**
 * fma(u·2⁻²⁴, hi − lo, lo) in single precision, u the low 24 bits. With lo = −hi it is hi·(u − 2²³)·2⁻²³: a product of
 * two 24-bit numbers, which a double holds exactly, so that rounding it to f32 is the one rounding of the fused operation.
 */
function fuse(draws: Uint32Array, from: number, count: number, step: number, out: Float32Array, at: number): void {
  for (let i = 0; i < count; i++) out[at + i] = (((draws[from + i] as number) & 0xffffff) - 0x800000) * step;
}

/** The factor of `fuse`: hi·2⁻²³, hi = f32(bound). */
const fuseStep = (bound: number): number => Math.fround(bound) * 2 ** -23;

/** torch 2.13, bf16 and fp16. */
function fusedHalf(bound: number, grid: "bf16" | "f16"): HalfMap {
  const step = fuseStep(bound);
  const round = grid === "bf16" ? roundToBf16 : roundToF16;
  // `high` becomes `low`, as torch keeps the interval half open.
  const [high, low] = [toHalfBits(bound, grid), toHalfBits(-bound, grid)];
  return (draws, count, out, at) => {
    for (let done = 0; done < count; done += CHUNK) {
      const n = Math.min(CHUNK, count - done);
      fuse(draws, done, n, step, singles, 0);
      round(singlesBits, n, out, at + done, high, low);
    }
  };
}

/** How torch 2.13's `uniform_(−bound, bound)` maps draws to f32 (VeRA's bases, and RandLoRA's when drawn in f32). */
export function singleUniform(bound: number): SingleUniform {
  const step = fuseStep(bound);
  return {
    map: (draws, count, out, at) => fuse(draws, 0, count, step, out, at),
    mapAndDivide: (draws, count, divisor, out, at) => fuseAndDivide(draws, count, step, divisor, out, at),
  };
}

/** The quotient of two f32 in double precision, rounded to f32, is their f32 quotient. */
function fuseAndDivide(
  draws: Uint32Array,
  count: number,
  step: number,
  divisor: number,
  out: Float32Array,
  at: number,
): void {
  for (let i = 0; i < count; i++) {
    out[at + i] = Math.fround((((draws[i] as number) & 0xffffff) - 0x800000) * step) / divisor;
  }
}
