import type { Preprocessing } from "./preprocessing.ts";

/**
 * What each byte of each color becomes, as transformers' PIL backend computes it (image_transforms.py): the product with
 * the factor in f64, rounded to f32, then mean and deviation in f32. 3 · 256 numbers: red's first.
 */
export function normalizationTable({ rescale, normalize }: Pick<Preprocessing, "rescale" | "normalize">): Float32Array {
  return Float32Array.from({ length: 3 * 256 }, (_, i) => {
    const color = i >> 8;
    const byte = i & 255;
    const scaled = rescale === undefined ? byte : Math.fround(byte * rescale);
    if (normalize === undefined) return scaled;
    const centred = Math.fround(scaled - Math.fround(normalize.mean[color] as number));
    return centred / Math.fround(normalize.std[color] as number);
  });
}

/**
 * Normalizes an image's bytes into a batch.
 *
 * @param bytes height · width · 3
 * @param table of {@link normalizationTable}
 * @param out (3, height, width), one plane for each color, is written at `at`
 */
export function normalizeInto(bytes: Uint8Array, table: Float32Array, out: Float32Array, at: number): void {
  const pixels = bytes.length / 3;
  for (let color = 0; color < 3; color++) {
    const plane = at + color * pixels;
    const offset = color * 256;
    for (let i = 0, from = color; i < pixels; i++, from += 3) {
      out[plane + i] = table[offset + (bytes[from] as number)] as number;
    }
  }
}
