import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { logprobsOf } from "./next-token.ts";

test("are the logarithms of a softmax", () => {
  const logits = Float32Array.of(0.25, 0.125, 0.5, 0.125).map(Math.log);
  const { id, logprob, top } = logprobsOf(logits, 1, 3);
  expect([id, Math.exp(logprob)]).toEqual([1, expect.closeTo(0.125, 6)]);
  expect(top.map(({ id }) => id)).toEqual([2, 0, 1]);
  expect(top.map(({ logprob }) => Math.exp(logprob))).toEqual([0.5, 0.25, 0.125].map((p) => expect.closeTo(p, 6)));
  expect(logprobsOf(logits, 3, 0).top).toEqual([]);
  expect(logprobsOf(logits, 3, 9).top).toHaveLength(4);
});

test("add up to one, however large the logits are, and do not change when all are moved", () => {
  const some = fc.array(fc.double({ min: -50, max: 50, noNaN: true }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(some, fc.constantFrom(0, 128, -4096), (values, shift) => {
      const logits = Float32Array.from(values, Math.round);
      const all = logprobsOf(logits, 0, logits.length).top;
      expect(all.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0)).toBeCloseTo(1, 9);
      const moved = logprobsOf(
        logits.map((value) => value + shift),
        0,
        logits.length,
      );
      expect(moved.top.map(({ id }) => id)).toEqual(all.map(({ id }) => id));
      for (const [at, { logprob }] of moved.top.entries()) expect(logprob).toBeCloseTo(all[at]?.logprob ?? NaN, 9);
    }),
    { numRuns: 60 },
  );
});
