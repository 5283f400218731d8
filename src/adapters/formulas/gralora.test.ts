import { expect, test } from "bun:test";
import { refusalOf } from "../../files/testing/folder.ts";
import { testFormula } from "../testing/formula.ts";
import { GRALORA, gralora } from "./gralora.ts";

testFormula(GRALORA, [
  [22, 10, 4],
  [10, 24, 8],
]);
testFormula(GRALORA, [[21, 9, 6]], { gralora_k: 3 });

test("a LoRA beside the blocks is refused; sides and ranks that k does not divide are no size of it", async () => {
  const settings = { peft_type: "GRALORA", r: 4, hybrid_r: 2 };
  const refusal = await refusalOf(() => gralora.check({ settings, configFile: "a.json" }));
  expect([refusal.code, refusal.message]).toEqual(["adapter", expect.stringContaining('a.json: "hybrid_r" is 2')]);
  const count = (out: number, rank: number) => gralora.training.capacity.count([{ out, in: 8 }], rank, {});
  expect([count(6, 2), count(6, 3), count(7, 2)]).toEqual([28, Infinity, Infinity]);
  const own = { gralora_k: 256, hybrid_r: 0 };
  expect(GRALORA.misfit?.({ out: 256, in: 512 }, { r: 256, own })).toMatch(/^65536 blocks/);
});
