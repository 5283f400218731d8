import { expect, test } from "bun:test";
import { refusalOf } from "../../files/testing/folder.ts";
import { testFormula } from "../testing/formula.ts";
import { C3A, c3a } from "./c3a.ts";

testFormula(C3A, [
  [25, 10, 5],
  [12, 24, 4],
  [12, 12, 12],
]);

test("block sizes of single layers are refused; of a usual size only divisors of all sides are taken", async () => {
  const settings = { peft_type: "C3A", block_size: 4, block_size_pattern: { q_proj: 8 } };
  const refusal = await refusalOf(() => c3a.check({ settings, configFile: "a.json" }));
  expect([refusal.code, refusal.message]).toEqual(["adapter", expect.stringContaining("block_size_pattern")]);
  const { most, count } = c3a.training.capacity;
  const modules = [
    { out: 24, in: 18 },
    { out: 12, in: 36 },
  ];
  expect([most(modules), count(modules, 6, {}), count(modules, 4, {})]).toEqual([6, 144, Infinity]);
});
