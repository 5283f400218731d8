import { expect, test } from "bun:test";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { RandloraError } from "../../files/errors.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { KeptGpu } from "../../train/loop/kept-gpu.ts";
import { resolveSettings } from "../../train/settings/resolve-settings.ts";
import { ComparisonFolder } from "./folder.ts";
import { drawByBase, forgettingOfRun } from "./measure.ts";
import { plannedRuns } from "./plan.ts";

/** One that never opens, and counts how often it is let go. */
class LostGpu extends KeptGpu {
  letGoes = 0;

  override async open(): Promise<never> {
    throw new RandloraError("gpu", "the device was lost", "");
  }

  override letGo(): void {
    this.letGoes++;
  }
}

test("after a failed device the next run opens another one", async () => {
  await using parent = await TemporaryFolder.create();
  const asked = { model: STORIES, data: "d.jsonl", method: "lora" };
  const settings = resolveSettings(asked, { modelType: "llama", contextLength: 512 });
  const contenders = [{ label: "lora", budget: 640, settings }];
  const counts = { budgets: [640], seed: 0, seeds: 1, forgetting: 16 };
  const record = { comparison: { ...counts, like: null, looks: [], dropped: [], contenders }, results: [] };
  await using folder = await ComparisonFolder.create(parent.at("compared"), record);
  const gpu = new LostGpu();
  const location = { folder: STORIES, weights: undefined };
  const notes: string[] = [];
  const observer = { note: (line: string) => notes.push(line), warn: (line: string) => notes.push(line) };
  const { signal } = new AbortController();
  const input = { folder, record, location, gpu };
  expect(await drawByBase(input, observer, signal)).toBeUndefined();
  expect([notes, gpu.letGoes]).toEqual([["forgetting is not measured: the device was lost"], 1]);
  // One that was told to stop says nothing, and throws nothing: what there is, is shown.
  expect(await drawByBase(input, observer, AbortSignal.abort())).toBeUndefined();
  const run = plannedRuns(record.comparison)[0];
  if (run === undefined) throw new Error("no run");
  const drawn = { texts: [[1, 2]], base: { nll: 1, sums: [{ nll: 1, tokens: 1 }] } };
  const watching = { ...observer, pause() {} };
  expect(await forgettingOfRun(drawn, run, input, watching, AbortSignal.abort())).toBeUndefined();
  expect(notes).toHaveLength(1);
});
