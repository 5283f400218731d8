import { expect, test } from "bun:test";
import type { StepPlan } from "../../data/batches/types.ts";
import { usualInterval, validationOf } from "./evaluation.ts";

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
