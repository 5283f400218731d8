import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { ADAPTER, mergeIn, modelOf } from "../../adapters/merge/testing/merge.ts";
import { computeCase, referenceOf } from "../tensor/cases/compare.ts";
import { visitOps } from "../tensor/cases/every-op.ts";
import { outcomeOf, settingsFor, trainInto, writeTexts } from "../../train/testing/runs.ts";
import { CpuDevice } from "./cpu.ts";
import { availableCodes } from "./native/choose.ts";
import { scatter } from "./testing/heaps.ts";

setDefaultTimeout(60_000);

// The threads, the width of machine code's vectors, and where buffers lie: no bit may depend on them. Each alone is tried by
// families/threads.test.ts, codes.slow.test.ts and heaps.slow.test.ts.

let one: CpuDevice;
let other: CpuDevice;
beforeAll(async () => {
  other = await CpuDevice.open({ threads: 3 });
  const code = other.code.code === "wasm" ? "wasm" : availableCodes().find((found) => found !== "wasm");
  one = await CpuDevice.open({ threads: 1, code });
});
afterAll(() => [one, other].forEach((device) => device.close()));

test("training has the same bits with another code, 1 or 3 threads", async () => {
  await using folder = await TemporaryFolder.create();
  const data = await writeTexts(folder.at("train.jsonl"), 8);
  const asked = { data, model: STORIES, rank: 8, steps: 2, batchSize: 4, learningRate: 5e-3, dropout: 0.1 };
  const settings = await settingsFor(asked);
  const outcomes = [];
  for (const [index, device] of [one, other].entries()) {
    const run = folder.at(`run-${index}`);
    await trainInto(run, settings, undefined, undefined, device);
    // The state names the code that computed it.
    const files = Object.entries(await outcomeOf(run)).filter(([name]) => !name.endsWith("state.json"));
    outcomes.push(Object.fromEntries(files));
  }
  expect(Object.keys(outcomes[0] ?? {})).toContain("adapter/adapter_model.safetensors");
  expect(outcomes[1]).toEqual(outcomes[0] ?? {});
});

test("a merge has the same bytes with 1 or 3 threads", async () => {
  const outcomes = [];
  for (const threads of [1, 3]) {
    await using folder = await TemporaryFolder.create();
    const device = { choice: "cpu", threads };
    outcomes.push((await mergeIn(folder, { tensors: modelOf("BF16") }, [ADAPTER], { device })).tensors);
  }
  expect(Object.keys(outcomes[0] ?? {}).length).toBeGreaterThan(3);
  expect(outcomes[1]).toEqual(outcomes[0] ?? {});
});

visitOps((op, cases) => {
  test(`${op.name} has the same bits with another code, 1 or 3 threads, and every buffer in another heap`, async () => {
    scatter(other);
    for (const trial of cases) {
      const reference = referenceOf(op, trial);
      const wanted = await computeCase(op, trial, reference, one);
      expect(wanted.length).toBeGreaterThan(0);
      expect([trial.name, await computeCase(op, trial, reference, other)]).toEqual([trial.name, wanted]);
    }
  });
});
