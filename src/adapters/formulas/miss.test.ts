import { expect, test } from "bun:test";
import { refusalOf } from "../../files/testing/folder.ts";
import { testFormula } from "../testing/formula.ts";
import { MISS, miss } from "./miss.ts";

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

test("bat, whose ΔW depends on W, is refused", async () => {
  const settings = { peft_type: "MISS", r: 4, init_weights: "bat" };
  const refusal = await refusalOf(() => miss.check({ settings, configFile: "a.json" }));
  expect([refusal.code, refusal.message]).toEqual([
    "adapter",
    expect.stringContaining('a.json: "init_weights" is "bat"'),
  ]);
});
