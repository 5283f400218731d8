import { expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { finetune } from "./finetune.ts";
import { TEST_DEVICE } from "../../compute/device/testing/open.ts";
import { KeptGpu } from "./kept-gpu.ts";
import { RunFolder } from "../run/run-folder.ts";
import { inputFor, Recording, shortRun, trainInto, writeTexts } from "../testing/runs.ts";

test("runs on one GPU come to what each comes to alone, its peak of memory among it, and leave nothing there", async () => {
  await using folder = await TemporaryFolder.create();
  const data = await writeTexts(folder.at("train.jsonl"), 12);
  // The larger one first: what it took says nothing of the other.
  const asked = [
    { batchSize: 4, rank: 8 },
    { batchSize: 2, rank: 32 },
  ];
  const settings = await Promise.all(asked.map((more) => shortRun({ data, ...more, steps: 2 })));
  using kept = new KeptGpu(TEST_DEVICE);
  for (const [at, one] of settings.entries()) {
    await using run = await RunFolder.create(folder.at(`kept-${at}`), one);
    const input = { ...(await inputFor(one)), folder: run, gpu: kept };
    const together = await finetune(input, new Recording(), new AbortController().signal);
    const { result: alone } = await trainInto(folder.at(`alone-${at}`), one);
    expect(together.loss).toBe(alone.loss ?? NaN);
    expect(together.peakGpuBytes).toBe(alone.peakGpuBytes);
    expect((await kept.open()).memory.liveBytes).toBe(0);
  }
  const gpu = await kept.open();
  kept.letGo();
  expect(await kept.open()).not.toBe(gpu);
}, 60_000);
