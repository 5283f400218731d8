import { expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { numbers, writeFolder } from "../testing/adapters.ts";
import { convert } from "../testing/convert.ts";
import { testFormula } from "../testing/formula.ts";
import { khatriRaoShape, KRADAPTER } from "./kradapter.ts";

// Ranks below √long, above it (its whole part then), and 1, where V is as large as W.
testFormula(KRADAPTER, [
  [23, 10, 4],
  [10, 23, 1024],
  [12, 12, 1024],
  [9, 30, 1],
  [31, 6, 5],
]);

test("U has no row that ΔW leaves out, and the two have about 2 · short · √long elements by default", () => {
  for (let long = 1; long < 2000; long++) {
    for (const rank of [1, 2, 7, 1024]) {
      const { a, b, short, inRows } = khatriRaoShape({ out: 5, in: long }, rank);
      expect([short, inRows]).toEqual([Math.min(5, long), long <= 5]);
      const longer = Math.max(long, 5);
      expect(a * b).toBeGreaterThanOrEqual(longer);
      expect((a - 1) * b).toBeLessThan(longer);
      if (rank === 1024) expect(a + b).toBeLessThanOrEqual(2 * Math.sqrt(longer) + 2);
    }
  }
});

test("a PEFT folder of it is written with a note that PEFT cannot load it; an adapter.json is nobody else's", async () => {
  await using folder = await TemporaryFolder.create();
  const config = { peft_type: "KRADAPTER", r: 2, alpha: 4, target_modules: ["q"] };
  const tensors = {
    "base_model.model.q.kradapter_U": numbers([2, 6]),
    "base_model.model.q.kradapter_V": numbers([4, 6]),
  };
  const from = await writeFolder(folder.at("a"), config, tensors);
  const { notes } = await convert(from, { to: "peft", out: folder.at("b") });
  expect(notes).toEqual([
    expect.stringMatching(/: PEFT has no KRADAPTER and cannot load the folder; --to lora makes a LoRA/),
  ]);
  expect((await convert(from, { to: "json", out: folder.at("c.json") })).notes).toEqual([]);
});
