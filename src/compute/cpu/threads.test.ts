import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { ADAPTER, mergeIn, modelOf } from "../../adapters/merge/testing/merge.ts";
import type { Op, Roles } from "../tensor/op.ts";
import type { OpCase } from "../tensor/cases/case.ts";
import { visitOps } from "../tensor/cases/every-op.ts";
import { outcomeOf, settingsFor, trainInto, writeTexts } from "../../train/testing/runs.ts";
import { CpuDevice } from "./cpu.ts";
import { resultsOf, slopesOf } from "./testing/ops.ts";

const THREADS = [1, 2, 3];
let devices: CpuDevice[];
beforeAll(async () => {
  devices = await Promise.all(THREADS.map((threads) => CpuDevice.open({ threads })));
});
afterAll(() => {
  for (const device of devices) device.close();
});

/** An op's cases as one test each. */
function tryAll<I extends Roles, A, O extends Roles>(op: Op<I, A, O>, cases: readonly OpCase<I, A>[]): void {
  describe(op.name, () => {
    for (const trial of cases) {
      test(`${trial.name}: the same bytes with ${THREADS.join(", ")} threads`, async () => {
        const slopes = slopesOf(op, trial);
        const [first, ...others] = await Promise.all(devices.map((device) => resultsOf(device, op, trial, slopes)));
        expect(first?.length).toBeGreaterThan(0);
        for (const other of others) expect(other).toEqual(first ?? []);
      });
    }
  });
}

visitOps(tryAll);

test("a merge gives the same bytes with any number of threads", async () => {
  const outcomes = [];
  for (const threads of THREADS) {
    await using folder = await TemporaryFolder.create();
    const device = { choice: "cpu", threads };
    outcomes.push((await mergeIn(folder, { tensors: modelOf("BF16") }, [ADAPTER], { device })).tensors);
  }
  expect(Object.keys(outcomes[0] ?? {}).length).toBeGreaterThan(3);
  for (const other of outcomes.slice(1)) expect(other).toEqual(outcomes[0] ?? {});
});

test("so does training", async () => {
  await using folder = await TemporaryFolder.create();
  const data = await writeTexts(folder.at("train.jsonl"), 8);
  const asked = { data, model: STORIES, rank: 8, steps: 2, batchSize: 4, learningRate: 5e-3, dropout: 0.1 };
  const settings = await settingsFor(asked);
  const outcomes = [];
  for (const [index, device] of devices.entries()) {
    const run = folder.at(`run-${index}`);
    await trainInto(run, settings, undefined, undefined, device);
    outcomes.push(await outcomeOf(run));
  }
  expect(Object.keys(outcomes[0] ?? {})).toContain("adapter/adapter_model.safetensors");
  for (const other of outcomes.slice(1)) expect(other).toEqual(outcomes[0] ?? {});
});
