const scratch = new Float32Array(1);
const bits = new Uint32Array(scratch.buffer);

/** The bits of `value` as an f32, to stand among whole numbers in {@link uniform}. */
export function f32(value: number): number {
  scratch[0] = value;
  return bits[0] ?? 0;
}

/** A uniform struct of 4-byte members in the order of the WGSL struct; padded to whole 16 bytes. */
export function uniform(...words: readonly number[]): Uint32Array<ArrayBuffer> {
  const packed = new Uint32Array(Math.ceil(words.length / 4) * 4);
  packed.set(words);
  return packed;
}
