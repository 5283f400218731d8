import type { Preprocessing } from "./preprocessing.ts";

/**
 * What each byte of each colour becomes, as transformers' PIL backend computes it (image_transforms.py): the product with
 * the factor in f64, rounded to f32, then mean and deviation in f32. 3 · 256 numbers: red's first.
 */
export function normalisationTable({ rescale, normalise }: Pick<Preprocessing, "rescale" | "normalise">): Float32Array {
  return Float32Array.from({ length: 3 * 256 }, (_, i) => {
    const colour = i >> 8;
    const byte = i & 255;
    const scaled = rescale === undefined ? byte : Math.fround(byte * rescale);
    if (normalise === undefined) return scaled;
    const centred = Math.fround(scaled - Math.fround(normalise.mean[colour] as number));
    return centred / Math.fround(normalise.std[colour] as number);
  });
}

/**
 * Normalises a image's bytes into a batch.
 *
 * @param bytes height · width · 3
 * @param table of {@link normalisationTable}
 * @param out (3, height, width), one plane for each colour, is written at `at`
 */
export function normaliseInto(bytes: Uint8Array, table: Float32Array, out: Float32Array, at: number): void {
  const pixels = bytes.length / 3;
  for (let colour = 0; colour < 3; colour++) {
    const plane = at + colour * pixels;
    const offset = colour * 256;
    for (let i = 0, from = colour; i < pixels; i++, from += 3) {
      out[plane + i] = table[offset + (bytes[from] as number)] as number;
    }
  }
}
