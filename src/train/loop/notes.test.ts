import { expect, test } from "bun:test";
import { settingsFor } from "../testing/runs.ts";
import { notesOfPlan } from "./training.ts";

test("options that need validation data are named where there is none", async () => {
  const settings = { ...(await settingsFor({ data: "data.jsonl", steps: 1 })), evalEvery: 5, validBatches: 2 };
  expect(notesOfPlan(settings, 1, 5)).toEqual([]);
  expect(notesOfPlan({ ...settings, evalEvery: null, validBatches: null }, 1, undefined)).toEqual([]);
  const [note, ...others] = notesOfPlan(settings, 1, undefined);
  expect(note).toStartWith("--eval-every, --valid-batches: nothing is validated");
  expect(others).toEqual([]);
});

test("an early stop that no validation is left for is named", async () => {
  const settings = { ...(await settingsFor({ data: "data.jsonl", steps: 1 })), earlyStop: 3 };
  expect([9, 10].map((steps) => notesOfPlan(settings, steps, 3))).toEqual([
    ["--early-stop 3: with 3 validations the run cannot end early"],
    [],
  ]);
});
