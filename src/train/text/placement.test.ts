import { afterAll, beforeAll, expect, test } from "bun:test";
import { METHODS } from "../../adapters/methods.ts";
import type { Device } from "../../compute/device/device.ts";
import { failingAfter } from "../../compute/device/testing/failing.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { locateModel } from "../../models/folder/locate.ts";
import { ModelSource } from "./model.ts";
import { settingsFor, writeTexts } from "../testing/runs.ts";

let gpu: Device;
let folder: TemporaryFolder;
let data: string;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
  data = await writeTexts(folder.at("train.jsonl"), 2);
});
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

/** How often a placement is made to fail, spread over all that it allocates. */
const FAILURES = 12;

test.each([
  // The storyteller's sides have no usual block size, and too few weights for SHiRA's usual rank.
  ...METHODS.map(({ name }) => [name, name === "c3a" || name === "shira" ? { rank: 4 } : {}] as const),
  ["randlora", { variant: "rank-r" }] as const,
  ["randlora", { variant: "paper", dropout: 0.1, dora: true }] as const,
  ["pranc", { dropout: 0.1 }] as const,
])("%s %p: a placement that fails keeps no memory, wherever it fails", async (method, given) => {
  const settings = await settingsFor({ data, method, ...given });
  await using source = await ModelSource.open(settings, await locateModel(STORIES));
  const place = { staging: gpu.staging, tokens: 64, microBatches: 2, budget: 2 ** 24, choices: undefined };
  const live = gpu.memory.liveBytes;
  let count = 0;
  for (;;) {
    let failure: unknown;
    try {
      (await source.place(failingAfter(gpu, count), place))[Symbol.dispose]();
    } catch (thrown) {
      failure = thrown;
    }
    expect(gpu.memory.liveBytes).toBe(live);
    if (failure === undefined) break;
    expect(failure).toMatchObject({ code: "memory" });
    count += 1 + Math.floor(count / FAILURES);
  }
  expect(count).toBeGreaterThan(0);
});
