import { itemAt } from "../../files/item-at.ts";

/** How the singular values of a target fall: none of them (an orthogonal matrix), as those of a random matrix do, or as 1/i. */
export const SPECTRA = ["flat", "random", "falling"] as const;
export type Spectrum = (typeof SPECTRA)[number];

/** A random matrix (size, size) of full rank whose mean square is 1; row-major. */
export function fitTarget(spectrum: Spectrum, size: number, seed = 1): Float32Array<ArrayBuffer> {
  const normal = normals(seed);
  const random = () => Float64Array.from({ length: size * size }, normal);
  if (spectrum === "random") return Float32Array.from(random());
  const [left, right] = [orthogonal(random(), size), orthogonal(random(), size)];
  const value = (i: number) => (spectrum === "flat" ? 1 : 1 / (i + 1));
  const target = new Float64Array(size * size);
  for (let row = 0; row < size; row++) {
    for (let i = 0; i < size; i++) {
      const factor = itemAt(left, i * size + row) * value(i);
      for (let col = 0; col < size; col++) {
        const at = row * size + col;
        target[at] = itemAt(target, at) + factor * itemAt(right, i * size + col);
      }
    }
  }
  const square = target.reduce((sum, one) => sum + one * one, 0);
  return Float32Array.from(target, (one) => one * (size / Math.sqrt(square)));
}

/** Rows made orthogonal and of length 1, one after the other (Gram and Schmidt), twice for the digits that it loses. */
function orthogonal(matrix: Float64Array, size: number): Float64Array {
  const row = (at: number) => matrix.subarray(at * size, (at + 1) * size);
  for (let i = 0; i < size; i++) {
    const own = row(i);
    for (let twice = 0; twice < 2; twice++) {
      for (let j = 0; j < i; j++) {
        const other = row(j);
        const along = own.reduce((sum, value, at) => sum + value * itemAt(other, at), 0);
        for (let at = 0; at < size; at++) own[at] = itemAt(own, at) - along * itemAt(other, at);
      }
      const length = Math.hypot(...own);
      for (let at = 0; at < size; at++) own[at] = itemAt(own, at) / length;
    }
  }
  return matrix;
}

/** Standard normal numbers (Box and Muller) from a generator of 32 bits, the same in every run. */
function normals(seed: number): () => number {
  let state = seed;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}
