import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { crop } from "./image.ts";
import { type Filter, resize } from "./resize.ts";
import { digest, expected } from "./testing/expected.ts";

const FILTERS: readonly Filter[] = ["lanczos", "bilinear", "bicubic", "box"];
const image = (width: number, height: number, data: Uint8Array) => ({ width, height, data });

describe("resize", () => {
  test.each(expected.resized)("is Pillow's from $from to $to", ({ from, to, pixels, results }) => {
    const before = image(...from, new Uint8Array(Buffer.from(pixels, "base64")));
    for (const filter of FILTERS) {
      const after = resize(before, ...to, filter);
      expect([after.width, after.height]).toEqual(to);
      expect(digest(after.data)).toBe(results[filter]);
    }
  });

  test("computes a window as if it were cut out of the whole", () => {
    const side = fc.integer({ min: 1, max: 24 });
    const cases = fc.record({
      from: fc.tuple(side, side),
      to: fc.tuple(side, side),
      corners: fc.tuple(fc.nat(), fc.nat(), fc.nat(), fc.nat()),
      filter: fc.constantFrom(...FILTERS),
      seed: fc.nat(255),
    });
    fc.assert(
      fc.property(cases, ({ from, to, corners, filter, seed }) => {
        const bytes = Uint8Array.from({ length: from[0] * from[1] * 3 }, (_, i) => (i * i * 7 + seed * i) % 256);
        const left = corners[0] % to[0];
        const top = corners[1] % to[1];
        const window = {
          left,
          top,
          width: 1 + (corners[2] % (to[0] - left)),
          height: 1 + (corners[3] % (to[1] - top)),
        };
        const box = { left, top, right: left + window.width, bottom: top + window.height };
        const before = image(...from, bytes);
        expect(resize(before, ...to, filter, window)).toEqual(crop(resize(before, ...to, filter), box));
      }),
      { numRuns: 300 },
    );
  });

  test("keeps memory to the window of a result that would not fit into it", () => {
    const line = image(2, 40_000, new Uint8Array(2 * 40_000 * 3).fill(77));
    const part = resize(line, 224, 4_480_000, "bicubic", { left: 0, top: 2_239_888, width: 224, height: 224 });
    expect(part.data.length).toBe(224 * 224 * 3);
    expect(part.data.every((value) => value === 77)).toBe(true);
  });
});
