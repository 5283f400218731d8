import fc from "fast-check";
import { describe, expect, test } from "bun:test";
import { augment, drawAugmentation } from "./job.ts";
import { crop, mirrored } from "./image.ts";
import { resize } from "./resize.ts";

const side = fc.integer({ min: 1, max: 3000 });
const drawn = fc.record({
  size: fc.record({ width: side, height: side }),
  seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  epoch: fc.nat(1000),
  index: fc.nat(2 ** 31),
});

describe("drawAugmentation", () => {
  test("stays inside, with the area and the proportions that are allowed", () => {
    fc.assert(
      fc.property(drawn, ({ size, seed, epoch, index }) => {
        const { box } = drawAugmentation(size, seed, epoch, index);
        const [wide, high] = [box.right - box.left, box.bottom - box.top];
        expect(wide >= 1 && high >= 1 && box.left >= 0 && box.top >= 0).toBe(true);
        expect(box.right <= size.width && box.bottom <= size.height).toBe(true);
        // Sides are rounded to whole pixels, so both bounds have a pixel's play.
        expect((wide - 1) / (high + 1) <= 4 / 3 && (high - 1) / (wide + 1) <= 4 / 3).toBe(true);
        const ratio = size.width / size.height;
        if (ratio > 0.8 && ratio < 1.25)
          expect((wide + 1) * (high + 1)).toBeGreaterThan(0.49 * size.width * size.height);
      }),
      { numRuns: 500 },
    );
  });

  test("is a function of seed, epoch and image, and each of them matters", () => {
    const size = { width: 640, height: 480 };
    const at = (seed: bigint, epoch: number, index: number) =>
      JSON.stringify(drawAugmentation(size, seed, epoch, index));
    expect(at(1n, 2, 3)).toBe(at(1n, 2, 3));
    expect(new Set([at(1n, 2, 3), at(2n, 2, 3), at(1n, 3, 3), at(1n, 2, 4), at(1n, 3, 2)]).size).toBe(5);
    // Fixed for good: runs that are resumed depend on it.
    expect(drawAugmentation(size, 1n, 2, 3)).toEqual({
      box: { left: 3, top: 48, right: 419, bottom: 434 },
      mirror: true,
    });
  });

  test("mirrors half of them, and spreads areas and places evenly", () => {
    const size = { width: 1000, height: 1000 };
    const draws = Array.from({ length: 4000 }, (_, i) => drawAugmentation(size, 9n, 0, i));
    const mean = (of: (draw: (typeof draws)[number]) => number) =>
      draws.reduce((sum, draw) => sum + of(draw), 0) / 4000;
    expect(mean(({ mirror }) => Number(mirror))).toBeWithin(0.46, 0.54);
    // Large areas are drawn again where their proportions do not fit into the square: the mean is below 0.75.
    expect(mean(({ box }) => ((box.right - box.left) * (box.bottom - box.top)) / 1e6)).toBeWithin(0.68, 0.75);
    const middle = ({ box }: (typeof draws)[number]) => (box.left + box.right) / 2;
    expect(mean(middle)).toBeWithin(490, 510);
  });
});

test("an augmented image is its part, resized and mirrored", () => {
  const image = { width: 9, height: 7, data: Uint8Array.from({ length: 9 * 7 * 3 }, (_, i) => (i * 37) % 256) };
  const box = { left: 2, top: 1, right: 8, bottom: 6 };
  const part = resize(crop(image, box), 5, 4, "bicubic");
  expect(augment(image, { box, mirror: false }, { width: 5, height: 4 })).toEqual(part);
  const other = augment(image, { box, mirror: true }, { width: 5, height: 4 });
  expect(other).not.toEqual(part);
  expect(mirrored(other)).toEqual(part);
});
