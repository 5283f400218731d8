import { expect, test } from "bun:test";
import { type Forgetting, forgettingOf } from "./forgetting-command.ts";
import type { Perplexity } from "./perplexity.ts";

const measured = (...sums: readonly (readonly [nll: number, tokens: number])[]): Perplexity => {
  const [total, tokens] = sums.reduce(([a, b], [nll, count]) => [a + nll, b + count], [0, 0]);
  const nll = total / tokens;
  return { tokens, nll, perplexity: Math.exp(nll), sums: sums.map(([of, count]) => ({ nll: of, tokens: count })) };
};

test("the mean is over tokens, and its standard error over texts", () => {
  const base = measured([10, 4], [20, 4], [30, 4]);
  // A rise of 1, 2 and 3 over four tokens each: means of 1/4, 2/4, 3/4.
  const found = forgettingOf(base, measured([11, 4], [22, 4], [33, 4]));
  expect(found.mean).toBeCloseTo(0.5, 12);
  expect(found.error).toBeCloseTo(0.25 / Math.sqrt(3), 12);
  // A long text counts by its tokens.
  const uneven = forgettingOf(measured([1, 1], [1, 9]), measured([2, 1], [1, 9]));
  expect(uneven.mean).toBeCloseTo(0.1, 12);
  expect(uneven.error).toBeCloseTo((Math.sqrt(2) * Math.hypot(0.9, -0.9)) / 10, 12);
});

test("a single text has no error", () => {
  expect(forgettingOf(measured([1, 1]), measured([2, 1]))).toEqual({ mean: 1, error: null } satisfies Forgetting);
});
