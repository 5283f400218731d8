import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir } from "node:fs/promises";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { ImageClassifier } from "../../measure/images/classifier.ts";
import { LoadedImageModel } from "../../measure/images/model.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import {
  CLIP,
  CLIP_SHAPES,
  DINOV2,
  DINOV2_SHAPES,
  type Shapes,
  writeImageModel,
} from "../../models/vision/testing/models.ts";
import { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import type { ImageTask } from "./task.ts";
import { BATCH, CLASSES, CLS, contrastive, LINEAR, TEXTS, trainImages } from "../testing/images.ts";

const COMPILE_TIMEOUT = 120_000;
const STEPS = 6;

let gpu: Device;
let folder: TemporaryFolder;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
  await writeImageModel(folder.at("clip"), CLIP, CLIP_SHAPES);
  await writeImageModel(folder.at("dinov2"), DINOV2, DINOV2_SHAPES);
  // Within a class for classification, which has a head of five classes.
  const headed = {
    ...Object.fromEntries(Object.entries(DINOV2_SHAPES).map(([name, shape]) => [`dinov2.${name}`, shape])),
    "classifier.weight": [5, 16],
    "classifier.bias": [5],
  };
  await writeImageModel(folder.at("headed"), DINOV2, headed);
});
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

const zeroShot: ImageTask = { kind: "classify", head: "zero-shot", texts: TEXTS.map((text) => [text]) };

/** Trains all weights, and writes the model. */
async function train(base: string, name: string, task: ImageTask): Promise<number[]> {
  const out = folder.at(name);
  await mkdir(out);
  const trial = { folder: folder.at(base), method: "full", task } as const;
  return await trainImages(gpu, trial, STEPS, (model) => model.save(out));
}

async function bytesOf(path: string): Promise<Map<string, Uint8Array>> {
  await using checkpoint = await Checkpoint.open(path);
  const all = new Map<string, Uint8Array>();
  for (const [name, { info }] of checkpoint.tensors) {
    const bytes = new Uint8Array(info.bytes);
    await checkpoint.read(name, bytes);
    all.set(name, bytes);
  }
  return all;
}

const isOf =
  (...begins: readonly string[]) =>
  (name: string) =>
    begins.some((begin) => name.startsWith(begin));
/** Of tensors that look alike in all images of one size, nothing is left over: `position_ids`, which is no weight. */
const seen = (name: string) => !/position_ids|mask_token/.test(name);

describe("every weight that the loss depends on is trained, and no other; those stay in the model", () => {
  test.each<[string, string, Shapes, ImageTask, (name: string) => boolean]>([
    ["dinov2, linear", "dinov2", DINOV2_SHAPES, LINEAR, () => true],
    ["dinov2, class token", "dinov2", DINOV2_SHAPES, CLS, () => true],
    // Its classifier reads patches.
    [
      "clip, linear",
      "clip",
      CLIP_SHAPES,
      LINEAR,
      (name) => name.startsWith("vision_model.") && !name.includes("post_layernorm"),
    ],
    ["clip, zero-shot", "clip", CLIP_SHAPES, zeroShot, isOf("vision_model.", "visual_projection")],
    ["clip, contrastive", "clip", CLIP_SHAPES, contrastive("clip", "both"), () => true],
    [
      "clip, images alone",
      "clip",
      CLIP_SHAPES,
      contrastive("paper", "vision"),
      isOf("vision_model.", "visual_", "logit"),
    ],
    ["clip, texts alone", "clip", CLIP_SHAPES, contrastive("clip", "text"), isOf("text_model.", "text_", "logit")],
  ])(
    "%s",
    async (name, base, shapes, task, isTrained) => {
      const losses = await train(base, name, task);
      expect(losses.at(-1)).toBeLessThan(losses[0] ?? NaN);
      expect(gpu.memory.liveBytes).toBe(0);
      const [before, after] = [await bytesOf(folder.at(base)), await bytesOf(folder.at(name))];
      const isChanged = (tensor: string) => !Bun.deepEquals(before.get(tensor), after.get(tensor));
      const names = Object.keys(shapes).filter(seen);
      // The gradient by a bias of keys is nothing but noise: it adds the same to all scores of a query.
      const certain = names.filter((tensor) => !/k(ey|_proj)\.bias$/.test(tensor));
      expect(certain.filter(isChanged).toSorted()).toEqual(certain.filter(isTrained).toSorted());
      const added = task.kind === "contrastive" || task.head === "zero-shot" ? [] : ["classifier.weight"];
      if (task.kind === "classify" && task.head === "linear") added.push("classifier.bias");
      expect([...after.keys()].toSorted()).toEqual([...before.keys(), ...added].toSorted());
    },
    COMPILE_TIMEOUT,
  );
});

test(
  "what is written is a model whose own head says what was trained; a head of other classes gives way",
  async () => {
    for (const [base, task] of [["headed", LINEAR] as const, ["dinov2", CLS] as const]) {
      const name = `${base}-classifier`;
      const out = folder.at(name);
      await mkdir(out);
      let end = NaN;
      const trial = { folder: folder.at(base), method: "full", task } as const;
      const losses = await trainImages(gpu, trial, STEPS, async (model, loss) => {
        await model.save(out);
        end = loss;
      });
      expect(end).toBeLessThan(losses[0] ?? NaN);
      const config: unknown = await Bun.file(folder.at(`${name}/config.json`)).json();
      const architectures = ["Dinov2ForImageClassification"];
      expect(config).toMatchObject({
        ...(task === LINEAR && { architectures }),
        id2label: { "0": "cat", "1": "dog_house", "2": "owl" },
      });
      if (task === CLS) expect(config).not.toHaveProperty("architectures");
      using model = await LoadedImageModel.open(gpu, { folder: out, weights: undefined }, { adapters: [] });
      expect(model.trained?.classes).toEqual(CLASSES);
      const classifier = ImageClassifier.trained(model);
      const rows = await classifier.logits(BATCH.images);
      const terms = rows.map((row, at) => {
        const all = Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0));
        return all - (row[BATCH.labels[at] ?? 0] ?? NaN);
      });
      expect(terms.reduce((sum, term) => sum + term, 0) / terms.length).toBeCloseTo(end, 5);
    }
  },
  COMPILE_TIMEOUT,
);

test(
  "another dtype is that of all weights, trained or not",
  async () => {
    const out = folder.at("half");
    await mkdir(out);
    const trial = { folder: folder.at("clip"), method: "full", task: LINEAR, dtype: "bf16" } as const;
    await trainImages(gpu, trial, 1, (model) => model.save(out));
    await using checkpoint = await Checkpoint.open(out);
    expect([...checkpoint.tensors.values()].map(({ info }) => info.dtype)).toEqual(
      [...checkpoint.tensors.keys()].map(() => "BF16"),
    );
    expect(await Bun.file(folder.at("half/config.json")).json()).toMatchObject({ dtype: "bfloat16" });
  },
  COMPILE_TIMEOUT,
);
