import { expect, test } from "bun:test";
import { refusalOf } from "../../files/testing/folder.ts";
import { testFormula } from "../testing/formula.ts";
import { HIRA, hira } from "./hira.ts";

testFormula(HIRA, [
  [23, 10, 3],
  [10, 24, 8],
]);

test("ranks of single layers are refused", async () => {
  const settings = { peft_type: "HIRA", r: 4, rank_pattern: { q_proj: 8 } };
  const refusal = await refusalOf(() => hira.check({ settings, configFile: "a.json" }));
  expect([refusal.code, refusal.message]).toEqual(["adapter", expect.stringContaining("rank_pattern")]);
});
