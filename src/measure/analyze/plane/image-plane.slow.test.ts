import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { measureAccuracy } from "../../images/accuracy-command.ts";
import { ImageClassifier } from "../../images/classifier.ts";
import { LoadedImageModel } from "../../images/model.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { readPreprocessing } from "../../../data/images/preprocessing.ts";
import type { ImageSet } from "../../../data/images/datasets/types.ts";
import { writeDinov2 } from "../../../models/vision/testing/folder.ts";
import { loadTokenizer } from "../../../data/text/load-tokenizer.ts";
import { mkdir } from "node:fs/promises";
import { trainImages } from "../../../train/testing/images.ts";
import { STORIES } from "../../../../fixtures/stories/storyteller.ts";
import { KeptBatches } from "../../images/batches.ts";
import { openSamples } from "../samples.ts";
import { ImagePlane } from "./image-plane.ts";
import { planVariants } from "../plan-variants.ts";
import { type Shares, sharesAt } from "./plane.ts";
import { CORNER_WEIGHTS, writeCorner, writeImages } from "../../testing/images.ts";

const CLASSES = ["cat", "dog", "owl"];
const POINTS: readonly Shares[] = [[1, 0, 0], [0, 1, 0], [0, 0, 1], sharesAt(0.7, 0.4), sharesAt(-0.4, 0.9)];

let gpu: Device;
let set: ImageSet;
const folder = await TemporaryFolder.create();
beforeAll(async () => {
  gpu = await openTestDevice();
  await writeImages(folder.at("data"), "test");
  set = await openSamples({ data: folder.at("data") });
  await writeDinov2(folder.at("dinov2"));
  for (const [name, head, steps] of [
    ["linear-1", "linear", 3],
    ["linear-2", "linear", 6],
    ["cls", "cls", 3],
    ["cls-2", "cls", 5],
  ] as const) {
    const task = { kind: "classify", head, classes: CLASSES } as const;
    const trial = { folder: folder.at("dinov2"), method: "randlora", targets: ["query", "fc2"], task } as const;
    await mkdir(folder.at(name));
    await trainImages(gpu, trial, steps, (model) => model.save(folder.at(name)));
  }
}, 120_000);
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

async function planeOf(base: string, corners: readonly string[], head?: "zero-shot") {
  const location = { folder: folder.at(base), weights: undefined };
  const paths = corners.map((name) => folder.at(name));
  const plan = await planVariants(location, paths, undefined);
  const [a, b, c] = plan.variants;
  if (a === undefined || b === undefined || c === undefined) throw new RangeError();
  const preprocessing = await readPreprocessing(location.folder);
  const { height, width } = preprocessing;
  return await ImagePlane.load(gpu, plan, [a, b, c], {
    size: [height, width],
    classifierOf: (opened) => classifierOf(opened, location.folder, head),
    batchesOf: () => Promise.resolve(new KeptBatches(set, { preprocessing, batchSize: 4 })),
  });
}

async function classifierOf(opened: LoadedImageModel, of: string, head?: "zero-shot"): Promise<ImageClassifier> {
  if (head === undefined) return ImageClassifier.trained(opened);
  const templates = ["an image of {}", "photo {}"];
  const texts = { classes: CLASSES, texts: CLASSES, templates, loadTokenizer: () => loadTokenizer(of) };
  return await ImageClassifier.zeroShot(opened, texts);
}

/** The loss that `eval images` has. */
async function lossOf(model: string, adapter?: string, head?: "zero-shot"): Promise<number> {
  const location = { folder: folder.at(model), weights: undefined };
  const preprocessing = await readPreprocessing(location.folder);
  const adapters = adapter === undefined ? [] : [{ path: folder.at(adapter), scale: 1 }];
  const size = [preprocessing.height, preprocessing.width] as const;
  using opened = await LoadedImageModel.open(gpu, location, { adapters, size });
  using classifier = await classifierOf(opened, location.folder, head);
  return (await measureAccuracy(classifier, set, { preprocessing, batchSize: 32 })).loss;
}

function expectClose(found: number, wanted: number): void {
  expect(Math.abs(found - wanted)).toBeLessThan(2e-5 * wanted);
}

describe("a plane through three whole models with a head of texts", () => {
  test("has the losses of models whose weights were mixed, texts and positions among them", async () => {
    const names: string[] = [];
    for (const [at, weights] of CORNER_WEIGHTS.entries()) {
      await writeCorner(folder.at(`corner-${at}`), weights);
      names.push(`corner-${at}`);
    }
    await writeCorner(folder.at("base"), Math.sin);
    using plane = await planeOf("base", names, "zero-shot");
    const found: number[] = [];
    for (const shares of POINTS) found.push(await plane.loss(shares));
    for (const [at, shares] of POINTS.entries()) {
      const mixed = (i: number) =>
        CORNER_WEIGHTS.reduce((sum, weights, corner) => sum + (shares[corner] ?? NaN) * Math.fround(weights(i)), 0);
      await writeCorner(folder.at(`mixed-${at}`), mixed);
      expectClose(found[at] ?? NaN, await lossOf(`mixed-${at}`, undefined, "zero-shot"));
    }
    expect(new Set(found).size).toBe(POINTS.length);
    // A point does not depend on those before it.
    expect(await plane.loss([1, 0, 0])).toBe(found[0] ?? NaN);
  }, 120_000);
});

describe("a plane through adapters with trained heads", () => {
  test.each([["linear-1", "linear-2"] as const, ["cls", "cls-2"] as const])(
    "%s and %s: corners have the losses of the models, heads are mixed like weights",
    async (a, b) => {
      const before = gpu.memory.liveBytes;
      {
        using plane = await planeOf("dinov2", [a, b, b]);
        const [atA, atB] = [await plane.loss([1, 0, 0]), await plane.loss([0, 1, 0])];
        expectClose(atA, await lossOf("dinov2", a));
        expectClose(atB, await lossOf("dinov2", b));
        expect(Math.abs(atA - atB)).toBeGreaterThan(1e-4);
        // B and C are the same: only the sum of their shares counts.
        expectClose(await plane.loss([0.5, 0.25, 0.25]), await plane.loss([0.5, 0.5, 0]));
        expectClose(await plane.loss([0, 0.3, 0.7]), atB);
      }
      expect(gpu.memory.liveBytes).toBe(before);
    },
    120_000,
  );

  test("that differ in kind is refused, and leaves nothing on the device", async () => {
    const before = gpu.memory.liveBytes;
    await expect(planeOf("dinov2", ["linear-1", "cls", "linear-1"])).rejects.toMatchObject({ code: "usage" });
    await expect(planeOf("dinov2", ["linear-1", "linear-2", "dinov2"])).rejects.toMatchObject({ code: "usage" });
    expect(gpu.memory.liveBytes).toBe(before);
  }, 120_000);
});

test("models of another kind or shape are no variants", async () => {
  const location = { folder: folder.at("dinov2"), weights: undefined };
  await writeCorner(folder.at("clip"), Math.sin);
  for (const other of [STORIES, folder.at("clip")]) {
    await expect(planVariants(location, [other], undefined)).rejects.toMatchObject({ code: "model" });
  }
  const stories = { folder: STORIES, weights: undefined };
  await expect(planVariants(stories, [folder.at("dinov2")], undefined)).rejects.toMatchObject({ code: "model" });
});
