import { expect, test } from "bun:test";
import type { StepPlan } from "../../data/batches/types.ts";
import { settingsFor } from "../testing/runs.ts";
import { notesOfValidation, usualInterval, validationOf } from "./evaluation.ts";

test.each([
  ["a run of a hundred steps, 13 batches held out", 125, 13, 14],
  ["a large set held out of a larger one", 22_500, 2_500, 2_500],
  ["five, however long they take", 100, 1_000, 20],
  ["a run shorter than twenty", 7, 1, 1],
])("without --eval-every: %s", (_, steps, batches, interval) => expect(usualInterval(steps, batches)).toBe(interval));

test("--valid-batches takes batches evenly over the validation data", () => {
  const largest = { tokens: 0, targets: 0 };
  const step = (index: number) => ({ index, epoch: 0, shards: [], targets: 0, tokens: 0 });
  const plan: StepPlan<unknown> = { length: 10, stepsPerEpoch: 10, largest, step };
  const some = validationOf(plan, 4);
  expect(some.length).toBe(4);
  expect([0, 1, 2, 3].map((at) => some.step(at))).toMatchObject([0, 2, 5, 7].map((index) => ({ index })));
  for (const most of [null, 10, 11]) expect(validationOf(plan, most)).toBe(plan);
});

test("options that need validation data are named where there is none", async () => {
  const settings = await settingsFor({ data: "data.jsonl", steps: 1 });
  expect(notesOfValidation(settings)).toEqual([]);
  const [note, ...others] = notesOfValidation({ ...settings, evalEvery: 5, validBatches: 2 });
  expect(note).toStartWith("--eval-every, --valid-batches: without validation data");
  expect(others).toEqual([]);
});
