import { expect, test } from "bun:test";
import { settingsFor } from "../testing/runs.ts";
import { notesOfPlan } from "./notes.ts";

test("options that need validation data are named where there is none", async () => {
  const settings = { ...(await settingsFor({ data: "data.jsonl", steps: 1 })), evalEvery: 5, validBatches: 2 };
  const steps = { length: 1 };
  expect(notesOfPlan(settings, { steps, validation: steps })).toEqual([]);
  expect(notesOfPlan({ ...settings, evalEvery: null, validBatches: null }, { steps, validation: undefined })).toEqual(
    [],
  );
  const [note, ...others] = notesOfPlan(settings, { steps, validation: undefined });
  expect(note).toStartWith("--eval-every, --valid-batches: nothing is validated");
  expect(others).toEqual([]);
});
