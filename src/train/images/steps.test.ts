import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { ReadyPlan, ReadyStep, Step } from "../../data/batches/types.ts";
import { planSteps } from "../../data/batches/steps.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { type LoaderOptions, ImageLoader, type ImageRequest } from "../../data/images/loader.ts";
import { parsePreprocessing } from "../../data/images/preprocessing.ts";
import { fileSet } from "../../data/images/datasets/files.ts";
import { type ImageSet, subsetOf } from "../../data/images/datasets/types.ts";
import type { ImageBatch } from "./batch.ts";
import { ImageSteps, type ImageStepsOptions } from "./steps.ts";

const preprocessing = parsePreprocessing({ size: 4, crop_size: 4 }, "settings");
/** The third one is no image. */
const COUNT = 7;

let folder: TemporaryFolder;
let set: ImageSet;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
  const samples = [];
  for (let i = 0; i < COUNT; i++) {
    const file = folder.at(`${i}.ppm`);
    const pixels = new Uint8Array(48).fill(30 * i);
    await Bun.write(file, i === 2 ? "nothing" : new Blob(["P6\n4 4\n255\n", pixels]));
    samples.push({ file, label: i });
  }
  const classes = Array.from({ length: COUNT }, (_, i) => String(i));
  set = fileSet(folder.path, { classes, texts: classes, upright: true }, samples);
});
afterAll(() => folder[Symbol.asyncDispose]());

function planOf(batchSize: number, accumulation = 1, shuffle = true): ReadyPlan<readonly number[]> {
  const samples = {
    length: COUNT,
    lengthOf: () => 1,
    targetsOf: () => 1,
    batchOf: (numbers: readonly number[]) => numbers,
  };
  return planSteps(samples, { batchSize, accumulation, length: { epochs: 3 }, shuffle, seed: 5n });
}

/** Remembers what was asked for. */
class Watched extends ImageLoader {
  readonly asked: ImageRequest[] = [];
  readonly expected: (readonly ImageRequest[])[] = [];
  override expect(requests: readonly ImageRequest[]): void {
    this.expected.push(requests);
    super.expect(requests);
  }
  override async prepare(request: ImageRequest) {
    this.asked.push(request);
    return await super.prepare(request);
  }
}

function batchesOf({ shards }: ReadyStep<readonly number[]>): (readonly number[])[] {
  return shards.flatMap(({ microBatches }) => microBatches);
}

/** A step whose micro-batches have been gone through. */
async function gone({ shards, ...step }: Step<ImageBatch>) {
  const microBatches: ImageBatch[] = [];
  for (const shard of shards) for await (const batch of shard.microBatches) microBatches.push(batch);
  return { ...step, microBatches };
}

function stepsOf(
  plan: ReadyPlan<readonly number[]>,
  options: Partial<LoaderOptions> = {},
  more: Pick<ImageStepsOptions, "eachOnce" | "keptBytes"> = {},
) {
  const loader = new Watched(set, { preprocessing, threads: 0, skipBad: true, ...options });
  const bad: string[] = [];
  return {
    loader,
    bad,
    steps: new ImageSteps(plan, { loader: () => loader, onBad: (line) => bad.push(line), ...more }),
  };
}

describe("steps of images", () => {
  test.each([
    ["stays in memory", 2 ** 28],
    ["is read once more", 60],
  ])("are those of their numbers, in any order, without what cannot be read, where a step %s", async (_, keptBytes) => {
    const plan = planOf(3, 2);
    const { loader, steps } = stepsOf(plan, { augment: 1n }, { keptBytes });
    using opened = loader;
    expect(opened.asked).toEqual([]);
    expect([steps.length, steps.stepsPerEpoch, steps.largest]).toEqual([6, 2, { tokens: 3, targets: 3 }]);
    const seen = [];
    for (let index = 0; index < steps.length; index++) {
      const step = await gone(await steps.step(index));
      const good = (at: number) => batchesOf(plan.step(at)).map((numbers) => numbers.filter((i) => i !== 2));
      // One that has none but the bad image has those of the next.
      const wanted = good(index).flat().length > 0 ? good(index) : good((index + 1) % 6);
      const labels = wanted.filter((batch) => batch.length > 0).map((batch) => [...batch]);
      expect(step.microBatches.map((batch) => [...batch.labels])).toEqual(labels);
      const count = labels.flat().length;
      expect(step).toMatchObject({ index, epoch: Math.floor(index / 2), targets: count, tokens: count });
      seen.push(step);
    }
    expect(seen.some(({ tokens }, index) => plan.step(index).tokens < tokens)).toBe(true);
    expect(await gone(await steps.step(4))).toEqual(seen[4] as never);
    expect(await gone(await steps.step(0))).toEqual(seen[0] as never);
  });

  test("have the ones after them begun, over the ends of epochs, and nothing after the last", async () => {
    const { loader, steps } = stepsOf(planOf(4));
    using _ = loader;
    await gone(await steps.step(1));
    const next = loader.expected.at(-1) ?? [];
    expect(next.map(({ epoch }) => epoch)).toEqual([1, 1]);
    await gone(await steps.step(2));
    expect(loader.asked.at(-1)).toEqual(next[0] as never);
    await gone(await steps.step(5));
    expect(loader.expected.at(-1)).toEqual([]);
  });

  test("load one micro-batch after the other, whatever --grad-accum is", async () => {
    const readable = subsetOf(set, [0, 1, 3, 4, 5, 6, 0]);
    using loader = new Watched(readable, { preprocessing, threads: 0 });
    const steps = new ImageSteps(planOf(1, 7), { loader: () => loader, onBad: () => {} });
    const { shards, targets, tokens } = await steps.step(0);
    expect([targets, tokens, loader.asked.length]).toEqual([7, 7, 0]);
    const asked: number[] = [];
    for (const { microBatches } of shards)
      for await (const { labels } of microBatches) asked.push(labels.length * loader.asked.length);
    expect(asked).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  test("say what was left out", async () => {
    const { loader, steps, bad } = stepsOf(planOf(1, 1, false));
    using _ = loader;
    const { microBatches, index } = await gone(await steps.step(2));
    expect([index, microBatches.map(({ labels }) => [...labels])]).toEqual([2, [[3]]]);
    expect(bad).toEqual([expect.stringContaining(join(folder.path, "2.ppm"))]);
    const evaluated = stepsOf(planOf(1, 1, false), {}, { eachOnce: true });
    using other = evaluated.loader;
    expect(await gone(await evaluated.steps.step(2))).toMatchObject({ microBatches: [], targets: 0 });
    expect(other.asked.length).toBe(1);
  });

  test.each([
    ["nothing can be read", { skipBad: true }, "no image can be read; the first: ", ""],
    ["what cannot be read may not be left out", { skipBad: false }, "2.ppm: not an image", "--skip-bad-images"],
  ])("are refused where %s", async (_, options, message, hint) => {
    const bad = subsetOf(set, [2, 2]);
    using loader = new ImageLoader(bad, { preprocessing, threads: 0, ...options });
    const samples = {
      length: 2,
      lengthOf: () => 1,
      targetsOf: () => 1,
      batchOf: (numbers: readonly number[]) => numbers,
    };
    const once = { batchSize: 1, accumulation: 1, length: { epochs: 1 }, shuffle: false, seed: 0n };
    const steps = new ImageSteps(planSteps(samples, once), { loader: () => loader, onBad: () => {} });
    const refusal = await refusalOf(async () => gone(await steps.step(0)));
    expect([refusal.message, refusal.hint]).toEqual([expect.stringContaining(message), expect.stringContaining(hint)]);
  });
});
