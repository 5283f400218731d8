import type { FloatDtype, WritableFloatDtype } from "./dtype.ts";

// IEEE 754 binary32 <-> binary16 and bfloat16, round to nearest, ties to even. NaN stays a (quiet) NaN with its sign.
// Bulk conversions read and write through typed arrays: files are little-endian, and so is every target of this program.

const scratchF32 = new Float32Array(1);
const scratchU32 = new Uint32Array(scratchF32.buffer);
const widenF16Table = tableOf(0x10000, f16BitsToNumber);
const widenE4M3Table = tableOf(256, e4m3BitsToNumber);
const widenE5M2Table = tableOf(256, (bits) => f16BitsToNumber(bits << 8));

/** bfloat16 bits of the f32 whose bits are given. Integers in, integers out: nothing can quieten a NaN on the way. */
export function f32BitsToBf16Bits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** binary16 bits of the f32 whose bits are given; beyond 65520 is infinity, below 2^-25 zero. */
export function f32BitsToF16Bits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x47800000) {
    if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x1ff);
    return sign | 0x7c00;
  }
  if (magnitude >= 0x38800000) {
    // Normal: the exponent moves by 112; a carry out of the mantissa rounds up to the next power or to infinity.
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  }
  if (magnitude < 0x33000000) return sign;
  // Subnormal: units of 2^-24. The mantissa with its hidden bit is shifted right by 14 to 24 places.
  const shift = 126 - (magnitude >>> 23);
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const kept = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (rest > half || (rest === half && (kept & 1) === 1) ? kept + 1 : kept);
}

/** The value of bfloat16 bits. */
export function bf16ToF32(bits: number): number {
  scratchU32[0] = bits << 16;
  return scratchF32[0] ?? 0;
}

/** The value of binary16 bits. */
export function f16ToF32(bits: number): number {
  return widenF16Table[bits & 0xffff] ?? 0;
}

/** bfloat16 bits of the f32 nearest to `value` (two roundings for values that are not f32: see {@link f64ToBf16}). */
export function f32ToBf16(value: number): number {
  scratchF32[0] = value;
  return f32BitsToBf16Bits(scratchU32[0] ?? 0);
}

/** bfloat16 bits of an f64, rounded once. */
export function f64ToBf16(value: number): number {
  return f32BitsToBf16Bits(oddF32Bits(value));
}

/** binary16 bits of an f64, rounded once. */
export function f64ToF16(value: number): number {
  return f32BitsToF16Bits(oddF32Bits(value));
}

/**
 * Little-endian elements of `dtype` as f32, exactly (F64 is rounded once). `bytes` holds `out.length` elements and
 * may start anywhere in its buffer. Throws `RangeError` when the lengths do not agree.
 */
export function widenToF32(bytes: Uint8Array, dtype: FloatDtype, out: Float32Array): void {
  checkLength(bytes, dtype, out.length);
  widen(bytes, dtype, out, new Uint32Array(out.buffer, out.byteOffset, out.length));
}

/** As {@link widenToF32} into f64, always exact. */
export function widenToF64(bytes: Uint8Array, dtype: FloatDtype, out: Float64Array): void {
  checkLength(bytes, dtype, out.length);
  widen(bytes, dtype, out, undefined);
}

/**
 * `values` rounded once to `dtype`, as little-endian bytes into `out`, which may start anywhere in its buffer.
 * Throws `RangeError` when the lengths do not agree.
 */
export function roundFromF32(values: Float32Array, dtype: WritableFloatDtype, out: Uint8Array): void {
  if (roundWide(values, dtype, out)) return;
  const count = values.length;
  const bits = new Uint32Array(values.buffer, values.byteOffset, count);
  intoAligned(out, 2, (buffer, offset) => {
    const to = new Uint16Array(buffer, offset, count);
    if (dtype === "BF16") for (let i = 0; i < count; i++) to[i] = f32BitsToBf16Bits(bits[i] ?? 0);
    else for (let i = 0; i < count; i++) to[i] = f32BitsToF16Bits(bits[i] ?? 0);
  });
}

/** As {@link roundFromF32} from f64: one rounding, also to the 16-bit types. */
export function roundFromF64(values: Float64Array, dtype: WritableFloatDtype, out: Uint8Array): void {
  if (roundWide(values, dtype, out)) return;
  const count = values.length;
  intoAligned(out, 2, (buffer, offset) => {
    const to = new Uint16Array(buffer, offset, count);
    if (dtype === "BF16") for (let i = 0; i < count; i++) to[i] = f64ToBf16(values[i] ?? 0);
    else for (let i = 0; i < count; i++) to[i] = f64ToF16(values[i] ?? 0);
  });
}

/** The same into F32 and F64, of their own bits exactly. @returns whether `dtype` is one of them */
function roundWide(values: Float32Array | Float64Array, dtype: WritableFloatDtype, out: Uint8Array): boolean {
  checkLength(out, dtype, values.length);
  if (dtype !== "F32" && dtype !== "F64") return false;
  const { length } = values;
  if (dtype === "F32") intoAligned(out, 4, (buffer, offset) => new Float32Array(buffer, offset, length).set(values));
  else intoAligned(out, 8, (buffer, offset) => new Float64Array(buffer, offset, length).set(values));
  return true;
}

function widen(
  bytes: Uint8Array,
  dtype: FloatDtype,
  out: Float32Array | Float64Array,
  outBits: Uint32Array | undefined,
): void {
  const count = out.length;
  if (dtype === "F8_E4M3" || dtype === "F8_E5M2") {
    const table = dtype === "F8_E4M3" ? widenE4M3Table : widenE5M2Table;
    for (let i = 0; i < count; i++) out[i] = table[bytes[i] ?? 0] ?? 0;
    return;
  }
  const { buffer, byteOffset } = aligned(bytes, dtype === "F64" ? 8 : dtype === "F32" ? 4 : 2);
  if (dtype === "F64") {
    out.set(new Float64Array(buffer, byteOffset, count));
  } else if (dtype === "F32") {
    // Bits, not values, where the target is f32: a signalling NaN must come through as it is.
    if (outBits === undefined) out.set(new Float32Array(buffer, byteOffset, count));
    else outBits.set(new Uint32Array(buffer, byteOffset, count));
  } else {
    const from = new Uint16Array(buffer, byteOffset, count);
    if (dtype === "F16") for (let i = 0; i < count; i++) out[i] = widenF16Table[from[i] ?? 0] ?? 0;
    else if (outBits !== undefined) for (let i = 0; i < count; i++) outBits[i] = (from[i] ?? 0) << 16;
    else for (let i = 0; i < count; i++) out[i] = bf16ToF32(from[i] ?? 0);
  }
}

/**
 * f32 bits of an f64 rounded to odd: where it is not exact the last bit is set, so that a second rounding to at least
 * two bits less gives what one rounding would have given.
 */
function oddF32Bits(value: number): number {
  scratchF32[0] = value;
  const near = scratchF32[0] ?? 0;
  const bits = scratchU32[0] ?? 0;
  if (near === value || Number.isNaN(value)) return bits;
  // Towards zero first (the bits of a magnitude are ordered as the magnitudes are), then the sticky bit.
  const truncated = Math.abs(near) > Math.abs(value) ? bits - 1 : bits;
  return (truncated | 1) >>> 0;
}

function f16BitsToNumber(bits: number): number {
  const sign = (bits & 0x8000) === 0 ? 1 : -1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0x1f) return mantissa === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  return sign * (mantissa + 0x400) * 2 ** (exponent - 25);
}

/** E4M3 without infinities (OCP FP8, `float8_e4m3fn`): only 0x7f and 0xff are NaN. */
function e4m3BitsToNumber(bits: number): number {
  const sign = (bits & 0x80) === 0 ? 1 : -1;
  const exponent = (bits >>> 3) & 0xf;
  const mantissa = bits & 7;
  if (exponent === 0xf && mantissa === 7) return NaN;
  if (exponent === 0) return sign * mantissa * 2 ** -9;
  return sign * (mantissa + 8) * 2 ** (exponent - 10);
}

function tableOf(size: number, value: (bits: number) => number): Float32Array {
  return Float32Array.from({ length: size }, (_, bits) => value(bits));
}

function checkLength(bytes: Uint8Array, dtype: FloatDtype, count: number): void {
  const size = dtype === "F64" ? 8 : dtype === "F32" ? 4 : dtype === "F16" || dtype === "BF16" ? 2 : 1;
  if (bytes.length !== count * size) {
    throw new RangeError(`${count} elements of ${dtype} take ${count * size} bytes, not ${bytes.length}`);
  }
}

/** `bytes` itself when it starts at a multiple of `size`, else a copy that does. */
function aligned(bytes: Uint8Array, size: number): Uint8Array {
  return bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
}

/** Lets `fill` write where `out` lies, through a copy when that is not a multiple of `size`. */
function intoAligned(out: Uint8Array, size: number, fill: (buffer: ArrayBufferLike, offset: number) => void): void {
  if (out.byteOffset % size === 0) {
    fill(out.buffer, out.byteOffset);
    return;
  }
  const copy = new Uint8Array(out.length);
  fill(copy.buffer, 0);
  out.set(copy);
}
