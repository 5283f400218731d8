// What a run says at its end, and of its adapter afterwards: how much moved, and what to try.
import { expect, test } from "bun:test";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { FinetuneFolder } from "./testing/finetune.ts";

const place = await FinetuneFolder.forTests();
const LORA = ["--method", "lora", "--targets", "q_proj,v_proj"] as const;

async function finetune(...args: readonly string[]) {
  const { status, stdout, stderr } = await place.run({}, ...args);
  expect([status, stderr.split("\n").filter((line) => line.startsWith("error"))]).toEqual([0, []]);
  return stdout;
}

test("a run that can have learned little says what moved, and what to try", async () => {
  const args = ["--data", "data.jsonl", "--valid-split", "0.2", "--steps", "7"];
  const text = await finetune(STORIES, ...args, ...LORA, "--out", "little");
  expect(text).toMatch(/validation loss +[\d.]+ at the end \([\d.]+ before\); lowest at step 7\n/);
  expect(text).toMatch(/ΔW +0\.00\d+ of the adapted weights, by norm\n/);
  const more =
    /try more --steps or --epochs, or a higher --learning-rate \(it was 0\.0001\)\n\nnext: randlora chat little\n$/;
  expect(text).toMatch(more);
  const learned = await finetune(STORIES, ...args, ...LORA, "--learning-rate", "1e-2", "--out", "learned");
  expect(learned).not.toContain("try more");
  for (const method of [[...LORA], ["--method", "full"]]) {
    const found = JSON.parse(await finetune(STORIES, ...args, ...method, "--out", method[1] ?? "", "--json"));
    expect(found.valid_loss_before).toBeGreaterThan(found.valid_loss);
    expect(found.relative_change).toBeWithin(1e-4, 0.1);
  }
  // A run that is longer is another run.
  const longer = await place.run({}, "--resume", "little", "--epochs", "50");
  expect([longer.status, longer.stderr]).toEqual([2, expect.stringContaining("--init-adapter little")]);
  const whole = await place.run({}, "--resume", "full", "--epochs", "50");
  expect(whole.stderr).toContain("full as its MODEL continues");
});

test("an adapter whose ΔW is zero is merged with a warning, as is one that rounding swallows", async () => {
  const args = ["--data", "data.jsonl", "--steps", "1", ...LORA];
  expect(await finetune(STORIES, ...args, "--learning-rate", "0", "--out", "zero")).toContain("ΔW is 0 of");
  await finetune(STORIES, ...args, "--learning-rate", "1e-20", "--out", "tiny");
  await finetune(STORIES, ...args, "--learning-rate", "1e-6", "--out", "small");
  for (const [run, cause] of [
    ["zero", "ΔW is zero: the adapter was not trained"],
    ["tiny", "ΔW is smaller than the rounding of the weights"],
    ["small", undefined],
  ] as const) {
    const merged = await place.randlora({}, "merge", run, "--out", "merged", "--force");
    const warnings = merged.stderr.split("\n").filter((line) => line.startsWith("warning"));
    expect([merged.status, warnings]).toEqual([
      0,
      cause === undefined ? [] : [expect.stringContaining(`those of the base: ${cause}`)],
    ]);
  }
});
