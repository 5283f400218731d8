import type { Grid } from "./positions.ts";

/** Height and width, in pixels. */
export type Size = readonly [height: number, width: number];

/** Colors of a pixel. */
export const CHANNELS = 3;

/** Normalized images of one size. */
export interface Images {
  readonly count: number;
  readonly size: Size;
  /** (count, 3, height, width). */
  readonly pixels: Float32Array;
}

/** Whole patches of an image; what is left over at the right and at the bottom is not looked at. */
export function gridOf([height, width]: Size, [patchHeight, patchWidth]: Size): Grid {
  return [Math.floor(height / patchHeight), Math.floor(width / patchWidth)];
}

/**
 * Images as rows of a product that is the convolution with the patches' weights (width, 3, height, width of a patch): for
 * each image a row of zeros, where the class token stands, then its patches row by row.
 * @returns (count · (1 + patches), 3 · height · width of a patch)
 */
export function unfoldPatches({ count, size, pixels }: Images, patch: Size): Float32Array<ArrayBuffer> {
  const [height, width] = size;
  const [patchHeight, patchWidth] = patch;
  const [rows, cols] = gridOf(size, patch);
  const length = CHANNELS * patchHeight * patchWidth;
  const unfolded = new Float32Array(count * (1 + rows * cols) * length);
  let at = 0;
  for (let image = 0; image < count; image++) {
    at += length;
    for (let row = 0; row < rows; row++) {
      for (let col = 0; col < cols; col++) {
        for (let line = 0; line < CHANNELS * patchHeight; line++) {
          const channel = Math.floor(line / patchHeight);
          const y = row * patchHeight + (line % patchHeight);
          const from = ((image * CHANNELS + channel) * height + y) * width + col * patchWidth;
          unfolded.set(pixels.subarray(from, from + patchWidth), at);
          at += patchWidth;
        }
      }
    }
  }
  return unfolded;
}
