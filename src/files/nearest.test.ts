import { expect, test } from "bun:test";
import fc from "fast-check";
import { editDistance, nearest } from "./nearest.ts";

test("known distances", () => {
  const known = [
    ["", "", 0],
    ["abc", "", 3],
    ["kitten", "sitting", 3],
    ["dtype", "dtpye", 1],
    ["ca", "abc", 3],
  ] as const;
  for (const [a, b, distance] of known) expect(editDistance(a, b)).toBe(distance);
});

test("the distance is symmetric, zero only for equal words, and at most the longer length", () => {
  const word = fc.string({ maxLength: 8 });
  fc.assert(
    fc.property(word, word, (a, b) => {
      const distance = editDistance(a, b);
      expect(editDistance(b, a)).toBe(distance);
      expect(distance === 0).toBe(a === b);
      expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
    }),
    { numRuns: 200 },
  );
});

test("suggests what was meant, and nothing far-fetched", () => {
  const flags = ["dtype", "scale", "max-shard-size", "out"];
  expect(nearest("dtpye", flags)).toBe("dtype");
  expect(nearest("Scale", flags)).toBe("scale");
  expect(nearest("max-shards-size", flags)).toBe("max-shard-size");
  expect(nearest("learning-rate", flags)).toBeUndefined();
  expect(nearest("x", flags)).toBeUndefined();
});
