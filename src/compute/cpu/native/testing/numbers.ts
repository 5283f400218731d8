import type { Stored } from "../machine.ts";

/** Numbers between −1 and 1 that are the same on every machine, which those of Math.sin need not be. */
export function noise(index: number, turn: number): number {
  const mixed = Math.imul(index + 1, 0x9e3779b1) ^ Math.imul(Math.round(turn * 1000), 0x85ebca6b);
  return (Math.imul(mixed ^ (mixed >>> 15), 0xc2b2ae35) >> 8) / 2 ** 23;
}

/** What was found, in a few digits. */
export function digest(found: Iterable<number>): bigint {
  return BigInt(Bun.hash(Float32Array.from(found, (value) => (Number.isNaN(value) ? 0 : value))));
}

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
