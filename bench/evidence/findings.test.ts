import { expect, test } from "bun:test";
import { interval } from "./findings.ts";

test("the interval of a mean is Student's", () => {
  const [low = NaN, high = NaN] = interval([1, 2, 3], 0.05) ?? [];
  // t of two degrees of freedom, two-sided 5 %: 4.30265.
  expect([low, high].map((end) => Math.abs(end - 2) * Math.sqrt(3))).toEqual(
    [4.30265, 4.30265].map((t) => expect.closeTo(t, 4)),
  );
  expect(interval([1], 0.05)).toBeUndefined();
});
