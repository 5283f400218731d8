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

/** Rows and columns of patches. */
export type Grid = readonly [rows: number, cols: number];

/**
 * What the position embeddings of another grid than the trained one are sums of, as transformers' `interpolate_pos_encoding`
 * has them: torch's bicubic interpolation with align_corners=False and without antialiasing, whose a is −0.75 and whose
 * borders are repeated. The trained grid is taken as the square that so many positions make, as there.
 * @param trained embeddings that there are: that of the class token first, which stays
 * @returns factors (1 + rows · cols, trained): with them a sum of the trained embeddings is each embedding of the grid
 */
export function interpolationFactors(trained: number, [rows, cols]: Grid): Float32Array<ArrayBuffer> {
  const side = squareSide(trained - 1);
  const factors = new Float32Array((1 + rows * cols) * trained);
  factors[0] = 1;
  const [vertical, horizontal] = [taps(side, rows), taps(side, cols)];
  vertical.forEach((down, row) =>
    horizontal.forEach((across, col) => {
      const begin = (1 + row * cols + col) * trained;
      for (const y of down) {
        for (const x of across) {
          const at = begin + 1 + y.from * side + x.from;
          factors[at] = (factors[at] ?? NaN) + y.weight * x.weight;
        }
      }
    }),
  );
  return factors;
}

/** Patches along one side of the square that the trained positions are taken as. */
export function squareSide(positions: number): number {
  return Math.floor(Math.sqrt(positions));
}

interface Tap {
  readonly from: number;
  readonly weight: number;
}

/** The four samples that each of `size` places between `of` samples is made of. */
function taps(of: number, size: number): Tap[][] {
  const scale = of / size;
  return Array.from({ length: size }, (_, index) => {
    const place = scale * (index + 0.5) - 0.5;
    const below = Math.floor(place);
    return [-1, 0, 1, 2].map((step) => ({
      from: Math.min(of - 1, Math.max(0, below + step)),
      weight: cubic(Math.abs(place - below - step)),
    }));
  });
}

/** Keys' convolution kernel (1981) with a = −0.75. */
function cubic(x: number): number {
  const a = -0.75;
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}
