import { expect, test } from "bun:test";
import { testFormula } from "../testing/formula.ts";
import { MISS } from "./miss.ts";

// r that divides the inputs, and that leaves some over; one block.
testFormula(MISS, [
  [23, 10, 4],
  [10, 24, 8],
  [12, 12, 12],
]);
testFormula(
  MISS,
  [
    [24, 10, 4],
    [9, 30, 7],
  ],
  { init_weights: "mini", mini_r: 3 },
);

testFormula(
  MISS,
  [
    [24, 12, 4],
    [15, 25, 5],
  ],
  { init_weights: "bat" },
);

test("blocks that do not divide a module's sides are refused before anything is read", () => {
  const own = { init_weights: "bat", mini_r: 1 } as const;
  expect(MISS.misfit?.({ out: 10, in: 12 }, { r: 4, own })).toBe("r 4 does not divide its sides");
  expect(MISS.misfit?.({ out: 10, in: 12 }, { r: 4, own: { ...own, init_weights: "mini" } })).toBeUndefined();
  expect(MISS.misfit?.({ out: 512, in: 512 }, { r: 1, own })).toBe("262144 blocks, of which a module may have 16384");
  expect(MISS.misfit?.({ out: 512, in: 512 }, { r: 4, own })).toBeUndefined();
});
