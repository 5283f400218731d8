import { expect, test } from "bun:test";
import { usualInterval } from "./evaluation.ts";

test.each([
  ["a run of a hundred steps, 13 batches held out", 125, 13, 14],
  ["a large set held out of a larger one", 22_500, 2_500, 2_500],
  ["five, however long they take", 100, 1_000, 20],
  ["a run shorter than twenty", 7, 1, 1],
])("without --eval-every: %s", (_, steps, batches, interval) => expect(usualInterval(steps, batches)).toBe(interval));
