/** The floating formats of a checkpoint: bits of the significand (the hidden one included) and smallest normal exponent. */
const FORMATS = {
  f32: { precision: 24, smallest: -126, largest: 127 },
  f16: { precision: 11, smallest: -14, largest: 15 },
  bf16: { precision: 8, smallest: -126, largest: 127 },
} as const;
export type FloatFormat = keyof typeof FORMATS;

const view = new DataView(new ArrayBuffer(8));

/** The distance between neighbors of `format` at `x`: that of subnormals near zero. */
export function ulp(x: number, format: FloatFormat): number {
  const { precision, smallest } = FORMATS[format];
  view.setFloat64(0, x);
  const exponent = ((view.getUint16(0) >> 4) & 0x7ff) - 1023;
  return 2 ** (Math.max(exponent, smallest) - precision + 1);
}

/**
 * An f64 rounded once to `format`, nearest, ties to even. The scaling by a power of two is exact, so there is one
 * rounding only; going through f32 on the way to bf16 would be two.
 */
export function roundOnce(x: number, format: FloatFormat): number {
  const step = ulp(x, format);
  const steps = x / step;
  const below = Math.floor(steps);
  const over = steps - below;
  const rounded = (over > 0.5 || (over === 0.5 && below % 2 !== 0) ? below + 1 : below) * step;
  const { largest } = FORMATS[format];
  return Math.abs(rounded) >= 2 ** (largest + 1) ? Math.sign(x) * Infinity : rounded;
}

/** Stored bytes to numbers, by safetensors' dtype names. */
export function decode(dtype: string, bytes: Uint8Array): Float32Array | Float64Array {
  const { buffer } = bytes.slice(); // aligned
  switch (dtype) {
    case "F64":
      return new Float64Array(buffer);
    case "F32":
      return new Float32Array(buffer);
    case "F16":
      return Float32Array.from(new Float16Array(buffer));
    case "BF16": {
      const words = Uint32Array.from(new Uint16Array(buffer), (bits) => bits << 16);
      return new Float32Array(words.buffer);
    }
    default:
      throw new TypeError(`${dtype} is not a floating dtype that a case uses`);
  }
}
