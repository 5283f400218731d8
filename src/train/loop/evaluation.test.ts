import { expect, test } from "bun:test";
import type { StepPlan } from "../../data/batches/types.ts";
import { settingsFor } from "../testing/runs.ts";
import { notesOfPlan, usualInterval, validationOf } from "./evaluation.ts";

test.each([
  ["a run of a hundred steps, 13 batches held out", 125, 13, 14],
  ["a large set held out of a larger one", 22_500, 2_500, 2_500],
  ["five, however long they take", 100, 1_000, 20],
  ["a run shorter than twenty", 7, 1, 1],
])("without --eval-every: %s", (_, steps, batches, interval) => expect(usualInterval(steps, batches)).toBe(interval));

function planOf(length: number): StepPlan<unknown> {
  const largest = { tokens: 0, targets: 0 };
  const step = (index: number) => ({ index, epoch: 0, shards: [], targets: 0, tokens: 0 });
  return { length, stepsPerEpoch: length, largest, step };
}

test("--valid-batches takes batches evenly over the validation data", () => {
  const plan = planOf(10);
  const some = validationOf(plan, 4);
  expect(some.length).toBe(4);
  expect([0, 1, 2, 3].map((at) => some.step(at))).toMatchObject([1, 3, 6, 8].map((index) => ({ index })));
  for (const most of [null, 10, 11]) expect(validationOf(plan, most)).toBe(plan);
});

test("options that need validation data are named where there is none", async () => {
  const settings = { ...(await settingsFor({ data: "data.jsonl", steps: 1 })), evalEvery: 5, validBatches: 2 };
  const steps = planOf(1);
  expect(notesOfPlan(settings, { steps, validation: planOf(1) })).toEqual([]);
  expect(notesOfPlan({ ...settings, evalEvery: null, validBatches: null }, { steps, validation: undefined })).toEqual(
    [],
  );
  const [note, ...others] = notesOfPlan(settings, { steps, validation: undefined });
  expect(note).toStartWith("--eval-every, --valid-batches: nothing is validated");
  expect(others).toEqual([]);
});
