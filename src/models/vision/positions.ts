/** Rows and columns of patches. */
export type Grid = readonly [rows: number, cols: number];

/**
 * The position embeddings of another grid than the trained one, as transformers' `interpolate_pos_encoding` has them:
 * torch's bicubic interpolation with align_corners=False and without antialiasing, whose a is −0.75 and whose borders are
 * repeated. The trained grid is taken as the square that so many positions make, as there.
 * @param trained (1 + positions, width): that of the class token first, which stays
 * @returns (1 + rows · cols, width)
 */
export function interpolatePositions(
  trained: Float32Array,
  width: number,
  [rows, cols]: Grid,
): Float32Array<ArrayBuffer> {
  const side = squareSide(trained.length / width - 1);
  const result = new Float32Array((1 + rows * cols) * width);
  result.set(trained.subarray(0, width));
  const [vertical, horizontal] = [taps(side, rows), taps(side, cols)];
  const sum = new Float64Array(width);
  vertical.forEach((down, row) =>
    horizontal.forEach((across, col) => {
      sum.fill(0);
      for (const y of down) {
        for (const x of across) {
          const begin = (1 + y.from * side + x.from) * width;
          const weight = y.weight * x.weight;
          for (let c = 0; c < width; c++) sum[c] = (sum[c] ?? NaN) + weight * (trained[begin + c] ?? NaN);
        }
      }
      result.set(sum, (1 + row * cols + col) * width);
    }),
  );
  return result;
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
