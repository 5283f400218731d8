import { expect, test } from "bun:test";
import fc from "fast-check";
import { type Grid, interpolationFactors, unfoldPatches } from "./patches.ts";

test("patches are cut row by row, by channel, behind a row of zeros; what is left over is not looked at", () => {
  // A pixel's value tells where it stands: image, channel, row, column.
  const [height, width] = [5, 7];
  const pixels = Float32Array.from({ length: 2 * 3 * height * width }, (_, at) => {
    const [image, channel] = [Math.floor(at / (3 * height * width)), Math.floor(at / (height * width)) % 3];
    return 1000 * (image + 1) + 100 * channel + 10 * (Math.floor(at / width) % height) + (at % width);
  });
  const rows = unfoldPatches({ count: 2, size: [height, width], pixels }, [2, 3]);
  expect(rows.length).toBe(2 * 5 * 18);
  expect([...rows.subarray(0, 18)]).toEqual(Array.from({ length: 18 }, () => 0));
  const patch = [...rows.subarray((5 + 4) * 18, (5 + 4) * 18 + 18)]; // of the second image, the one at (1, 1)
  const wanted = [0, 100, 200].flatMap((channel) => [23, 24, 25, 33, 34, 35].map((place) => 2000 + channel + place));
  expect(patch).toEqual(wanted);
});

/** Embeddings of `width` numbers on another grid. */
function interpolated(trained: Float32Array, width: number, grid: Grid): number[] {
  const count = trained.length / width;
  const factors = interpolationFactors(count, grid);
  return Array.from({ length: (factors.length / count) * width }, (_, at) => {
    const row = factors.subarray(Math.floor(at / width) * count, (Math.floor(at / width) + 1) * count);
    return row.reduce((sum, factor, of) => sum + factor * (trained[of * width + (at % width)] ?? NaN), 0);
  });
}

// (1 + 3 · 3, 1), and what torch 2.13 makes of the last nine: interpolate(…, mode="bicubic", align_corners=False).
const TABLE = Float32Array.from([77, 1, 4, 2, 8, 5, 7, 3, 9, 6]);
const BY_TORCH = [
  ["2×4", [2, 4], [2.66667, 3.709604, 3.900629, 3.102079, 4.109741, 6.967274, 7.918724, 6.278416]],
  [
    "5×5",
    [5, 5],
    [
      -0.015295, 1.887137, 3.904001, 2.702464, 1.291137, 4.073697, 4.091649, 4.100001, 4.047873, 4.003554, 8.288001,
      6.691999, 5.0, 6.008001, 7.192001, 5.244703, 6.305071, 7.520001, 7.197009, 6.673889, 1.861057, 5.433794, 9.384002,
      7.748448, 5.569922,
    ],
  ],
] as const;

test.each(BY_TORCH)("positions for %s patches are torch's", (_, grid, wanted) => {
  const [first, ...made] = interpolated(TABLE, 1, grid);
  expect(first).toBe(77);
  expect(made.length).toBe(wanted.length);
  for (const [at, value] of wanted.entries()) expect(made[at]).toBeCloseTo(value, 5);
});

test("positions of the trained grid stay, and so do equal ones on any grid; columns do not mix", () => {
  const side = fc.integer({ min: 1, max: 9 });
  fc.assert(
    fc.property(side, side, side, (trained, rows, cols) => {
      const table = Float32Array.from({ length: 2 * (1 + trained ** 2) }, (_, at) => (at % 2 === 0 ? Math.sin(at) : 3));
      const same = interpolated(table, 2, [trained, trained]);
      for (const [at, value] of table.entries()) expect(same[at]).toBeCloseTo(value, 5);
      const other = interpolated(table, 2, [rows, cols]);
      expect(other.length).toBe(2 * (1 + rows * cols));
      for (let at = 1; at < other.length; at += 2) expect(other[at]).toBeCloseTo(3, 5);
    }),
  );
});
