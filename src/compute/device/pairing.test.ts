import { expect, test } from "bun:test";
import fc from "fast-check";
import { fastRows, pairingStrides, pairOf } from "./pairing.ts";

const sizes = { r: fc.integer({ min: 1, max: 9 }), n: fc.integer({ min: 1, max: 9 }) };

test("every λ[k, j] meets one column of B̂, where the strides put it", () => {
  fc.assert(
    fc.property(fc.constantFrom("peft" as const, "paper" as const), sizes.r, sizes.n, (pairing, r, n) => {
      const stride = pairingStrides(pairing, r, n);
      const places = Array.from({ length: r * n }, (_, q) => {
        const { k, j } = pairOf(pairing, q, r, n);
        expect(k * stride.k + j * stride.j).toBe(q);
        return k * n + j;
      });
      expect(places.toSorted((a, b) => a - b)).toEqual(Array.from({ length: r * n }, (_, at) => at));
    }),
  );
});

test("PEFT pairs by flat index, the paper base with base; the fast operand's row changes with every q", () => {
  expect([0, 1, 2, 3, 4, 5].map((q) => pairOf("peft", q, 2, 3))).toEqual([
    { k: 0, j: 0 },
    { k: 0, j: 1 },
    { k: 0, j: 2 },
    { k: 1, j: 0 },
    { k: 1, j: 1 },
    { k: 1, j: 2 },
  ]);
  expect([0, 1, 2].map((q) => pairOf("paper", q, 2, 3))).toEqual([
    { k: 0, j: 0 },
    { k: 1, j: 0 },
    { k: 0, j: 1 },
  ]);
  expect([fastRows("peft", 2, 3), fastRows("paper", 2, 3)]).toEqual([3, 2]);
});
