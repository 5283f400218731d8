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
