import type { Stored } from "../machine.ts";

/** Numbers in a format, as bytes. F16 has whole 64ths of 1 to 2 here, so that nothing has to be rounded. */
export function encoded(format: Stored, count: number, value: (index: number) => number): Uint8Array<ArrayBuffer> {
  const floats = Float32Array.from({ length: count }, (_, index) => value(index));
  if (format === "F32") return new Uint8Array(floats.buffer);
  const bits = new Uint32Array(floats.buffer);
  const halves = Uint16Array.from(bits, (word, index) => {
    if (format === "BF16") return word >>> 16;
    const number = floats[index] ?? 0;
    if (Number.isNaN(number)) return 0x7e00;
    return ((number < 0 ? 1 : 0) << 15) | 0x3c00 | (Math.floor(Math.abs(number) * 63) << 4);
  });
  return new Uint8Array(halves.buffer);
}

/** The numbers again. */
export function decoded(format: Stored, bytes: Uint8Array<ArrayBuffer>): Float32Array {
  if (format === "F32") return new Float32Array(bytes.buffer);
  const halves = new Uint16Array(bytes.buffer);
  if (format === "BF16") return new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer);
  return Float32Array.from(halves, (half) => ((half & 0x8000) === 0 ? 1 : -1) * (1 + (half & 0x3ff) / 1024));
}
