import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import type { Device } from "../../compute/device/device.ts";
import { overlaid } from "../../compute/device/owned.ts";
import type { MicroBatch } from "../../data/text/samples/types.ts";
import { RandloraError } from "../../files/errors.ts";
import { itemAt } from "../../files/item-at.ts";
import { EndedByOther, type Processes } from "../../mpi/processes.ts";
import { together } from "../../mpi/testing/together.ts";
import { RunFolder } from "../run/run-folder.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import type { TrainSettings } from "../settings/settings.ts";
import { inputFor, Recording } from "../testing/runs.ts";
import { ShortRuns } from "../testing/short-runs.ts";
import { finetune } from "./finetune.ts";
import type { TrainingInput } from "./training.ts";

let runs: ShortRuns;
const devices: Device[] = [];
beforeAll(async () => {
  runs = await ShortRuns.open({ data: 13, valid: 5 });
  for (let rank = 0; rank < 4; rank++) devices.push(await openTestDevice());
});
afterAll(async () => {
  for (const device of devices) device.close();
  await runs[Symbol.asyncDispose]();
});

const CASES: readonly (readonly [string, Partial<AskedSettings>])[] = [
  ["sparse bases, dropout", { sparsity: "sparse", dropout: 0.1 }],
  ["dora, packed", { method: "dora", packing: true, maxLength: 64 }],
  ["nola, whose factors are summed in a step", { method: "nola", bases: 8 }],
  ["every weight", { method: "full", steps: 3 }],
];

/** One of the processes that share a run. */
async function takePart(
  name: string,
  settings: TrainSettings,
  processes: Processes,
  recording: Stopping,
  more: Partial<TrainingInput<MicroBatch>> = {},
) {
  const path = runs.folder.at(name);
  const isThere = await stat(join(path, "run.json")).then(Boolean, () => false);
  const isFirst = processes.rank === 0;
  const owned = () => (isThere ? RunFolder.open(path).then(({ folder }) => folder) : RunFolder.create(path, settings));
  await using folder = isFirst ? await owned() : RunFolder.shared(path);
  const gpu = itemAt(devices, processes.rank);
  const input = { ...(await inputFor(settings)), folder, gpu, processes, ...more };
  const stop = new AbortController();
  const { onStep } = recording;
  recording.onStep = (step) => {
    onStep(step);
    if (step === recording.stopAt) stop.abort();
  };
  try {
    return await finetune(input, recording, stop.signal);
  } catch (thrown) {
    throw await processes.failed(thrown);
  }
}

class Stopping extends Recording {
  /** The step after which it is told to stop. */
  stopAt = -1;
}

/** Trains in so many processes. @returns what each came to */
async function train(name: string, settings: TrainSettings, size: number, stopAt = -1) {
  const all = together(size).map(async (processes) => {
    const recording = new Stopping();
    // A launcher may tell one of them alone.
    if (processes.rank === size - 1) recording.stopAt = stopAt;
    return await takePart(name, settings, processes, recording);
  });
  return await Promise.allSettled(all);
}

/** All that a run folder holds, but for times. */
async function contentOf(name: string): Promise<Record<string, string>> {
  const path = runs.folder.at(name);
  const files = (await readdir(path, { recursive: true })).toSorted();
  const entries = files.map(async (file): Promise<[string, string]> => {
    const bytes = await readFile(join(path, file)).catch(() => Buffer.alloc(0));
    const isTimed = file.startsWith("metrics.");
    const text = isTimed ? bytes.toString().replaceAll(/"(seconds|time)":[\d.e-]+/g, "") : bytes.toString("base64");
    return [file, file === "metrics.csv" ? String(text.split("\n").length) : text];
  });
  return Object.fromEntries(await Promise.all(entries));
}

describe("a step in four shards", () => {
  test.each(CASES)("%s: the same bytes with one process, and with two, then four", async (name, asked) => {
    const settings = await runs.settings({ ...asked, batchSize: 3, shards: 4 });
    expect(await train(`${name}-1`, settings, 1)).toMatchObject([{ value: { ending: "finished" } }]);
    const whole = await contentOf(`${name}-1`);
    expect(Object.keys(whole)).toContain("metrics.jsonl");
    // Begun by two, one of which is told to stop; finished by four.
    const begun = await train(`${name}-resumed`, settings, 2, 2);
    expect(begun).toMatchObject([{ value: { ending: "interrupted" } }, { value: { ending: "interrupted" } }]);
    const ends = await train(`${name}-resumed`, settings, 4);
    expect(ends.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled", "fulfilled"]);
    expect(await contentOf(`${name}-resumed`)).toEqual(whole);
  });

  test("has the losses of one shard, but for rounding", async () => {
    const losses = async (shards: number) => {
      const recording = new Recording();
      const settings = await runs.settings({ method: "lora", batchSize: 3, shards });
      await runs.train(`losses-${shards}`, settings, recording);
      return recording.losses;
    };
    const [one, four] = [await losses(1), await losses(4)];
    expect(four.length).toBe(one.length);
    for (const [at, loss] of one.entries()) expect(Math.abs((four[at] ?? NaN) / loss - 1)).toBeLessThan(1e-4);
  });

  test("stops early with any number of processes after the same step", async () => {
    const asked = { method: "lora", shards: 2, learningRate: 1, steps: 9, evalEvery: 1, earlyStop: 2 };
    const settings = await runs.settings(asked);
    for (const size of [1, 2]) await train(`early-${size}`, settings, size);
    const whole = await contentOf("early-1");
    expect(whole["metrics.jsonl"]?.split("\n").length).toBeLessThan(16);
    expect(await contentOf("early-2")).toEqual(whole);
  });
});

test("a process that fails ends all, and says why", async () => {
  const settings = await runs.settings({ method: "lora", shards: 2 });
  const [first, second] = together(2);
  if (first === undefined || second === undefined) throw new RangeError();
  const failing = new Recording();
  failing.onStep = (step) => {
    if (step === 2) throw new RandloraError("file", "the disk is gone");
  };
  const ends = await Promise.allSettled([
    takePart("failing", settings, first, new Stopping()),
    takePart("failing", settings, second, Object.assign(new Stopping(), { onStep: failing.onStep })),
  ]);
  expect(ends).toMatchObject([{ reason: expect.any(EndedByOther) }, { reason: { message: "the disk is gone" } }]);
});

test("where one has no memory for the parameters, all give up alike", async () => {
  const settings = await runs.settings({ method: "lora", shards: 2 });
  const [first, second] = together(2);
  if (first === undefined || second === undefined) throw new RangeError();
  const { subject, location } = await inputFor(settings);
  await using opened = await subject.open(settings, location, {});
  const full = itemAt(devices, 1);
  const source = overlaid(opened, {
    place: async (gpu, options) => {
      if (gpu === full) throw new RandloraError("memory", "the device is full");
      return await opened.place(gpu, options);
    },
  });
  const ends = await Promise.allSettled([
    takePart("full", settings, first, new Stopping()),
    takePart("full", settings, second, new Stopping(), { source }),
  ]);
  expect(ends).toMatchObject([
    { reason: { code: "memory", message: "another process has not enough memory" } },
    { reason: expect.any(EndedByOther) },
  ]);
});

test("a process that has other parameters is refused", async () => {
  const settings = await runs.settings({ method: "lora", shards: 2 });
  const other = { ...settings, seed: settings.seed + 1 };
  const [first, second] = together(2);
  if (first === undefined || second === undefined) throw new RangeError();
  const ends = await Promise.allSettled([
    takePart("unlike", settings, first, new Stopping()),
    takePart("unlike", other, second, new Stopping()),
  ]);
  expect(ends[0]).toMatchObject({ reason: { message: expect.stringContaining("process 1 has other data") } });
});

test.each([
  [{ shards: 3 }, "--shards 3: not a power of two"],
  [
    { shards: 8, batchSize: 2, gradAccum: 2 },
    "a step of 4 samples (--batch-size times --grad-accum) cannot be cut into 8 shards",
  ],
])("%j is refused", async (asked, message) => {
  await expect(runs.settings(asked)).rejects.toThrow(message);
});
