import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { convertAdapter } from "../../adapters/formats/convert.ts";
import { openAdapter } from "../../adapters/formats/open.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { merge } from "../../adapters/merge/to-files/run.ts";
import { Notes, OPTIONS } from "../../adapters/merge/testing/merge.ts";
import {
  CLIP,
  CLIP_SHAPES,
  DINOV2,
  DINOV2_SHAPES,
  loadImageModel,
  writeImageModel,
} from "../../models/vision/testing/models.ts";
import { Run } from "../../compute/tensor/run.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { PLAIN_LINEARS } from "../../models/blocks/linears.ts";
import { recordFeatures } from "./classification.ts";
import type { ImageTask } from "./task.ts";
import { BATCH, CLASSES, CLS, contrastive, LINEAR, type ImageTrial, TEXTS, trainImages } from "../testing/images.ts";

const COMPILE_TIMEOUT = 120_000;

let gpu: Device;
let parent: TemporaryFolder;
beforeAll(async () => {
  gpu = await openTestDevice();
  parent = await TemporaryFolder.create();
  await writeImageModel(parent.at("clip"), CLIP, CLIP_SHAPES);
  await writeImageModel(parent.at("dinov2"), DINOV2, DINOV2_SHAPES);
});
afterAll(async () => {
  gpu.close();
  await parent[Symbol.asyncDispose]();
});

async function valuesOf(record: (run: Run) => Tensor): Promise<number[]> {
  using run = new Run(gpu);
  const y = run.keep(record(run));
  await run.submit();
  const values = await readRows(gpu, y, 0, y.shape[0]);
  gpu.memory.release(y.buffer);
  return [...values];
}

const zeroShot: ImageTask = { kind: "classify", head: "zero-shot", texts: TEXTS.map((text) => [text, [7, ...text]]) };

describe("losses fall, and all memory is given back", () => {
  test.each<[string, Omit<ImageTrial, "folder"> & { readonly base: "clip" | "dinov2" }]>([
    ["dinov2, linear", { base: "dinov2", method: "randlora", targets: ["query", "value"], task: LINEAR }],
    ["dinov2, class token", { base: "dinov2", method: "lora", targets: "all-linear", task: CLS }],
    ["clip, linear", { base: "clip", method: "lora", targets: ["q_proj"], task: LINEAR }],
    ["clip, zero-shot", { base: "clip", method: "randlora", targets: ["q_proj", "v_proj"], task: zeroShot }],
    ["clip, contrastive", { base: "clip", method: "lora", targets: "all-linear", task: contrastive("clip") }],
    ["clip, the paper's", { base: "clip", method: "randlora", targets: ["fc1"], task: contrastive("paper") }],
  ])(
    "%s",
    async (_, { base, ...trial }) => {
      const losses = await trainImages(gpu, { folder: parent.at(base), ...trial }, 8);
      expect(losses[7]).toBeLessThan(losses[0] ?? NaN);
      expect(gpu.memory.liveBytes).toBe(0);
    },
    COMPILE_TIMEOUT,
  );
});

test(
  "an adapter with a head: PEFT's names, as adapter.json and back, merged into one model whose logits are those that were trained",
  async () => {
    for (const [base, targets] of [["dinov2", ["query", "fc2"]] as const, ["clip", ["q_proj", "fc2"]] as const]) {
      const folder = parent.at(base);
      const [saved, merged] = [parent.at(`${base}-adapter`), parent.at(`${base}-merged`)];
      let trained: number[] = [];
      const trial = { folder, method: "randlora", targets: [...targets], task: LINEAR } as const;
      await trainImages(gpu, trial, 5, async (model) => {
        await mkdir(saved);
        await model.save(saved);
        const value = (name: string) => model.parameters.get(`classifier.${name}`).value;
        trained = await valuesOf((run) => {
          model.method.prepare(run);
          const linears = model.method.linears({ kind: "evaluate" });
          const options = { linears, checkpointing: false };
          const x = recordFeatures(run, model.model, BATCH.images, { of: "linear" }, options);
          const inputs = { x, weight: value("weight"), bias: value("bias"), residual: undefined };
          return PLAIN_LINEARS.apply(run, inputs);
        });
      });
      const config: unknown = JSON.parse(await readFile(join(saved, "adapter_config.json"), "utf8"));
      expect(config).toMatchObject({
        modules_to_save: ["classifier"],
        task_type: null,
        target_modules: ["q_proj", "fc2"],
      });
      await using adapter = await openAdapter(saved);
      const first = base === "clip" ? "vision_model.encoder.layers.0.self_attn" : "dinov2.encoder.layer.0.attention";
      expect([...adapter.tensors.keys()]).toContain(`${first}.q_proj.randlora_lambda`);
      expect([...adapter.tensors.keys()]).toContain("classifier.bias");
      expect([...adapter.tensors.keys()].filter((name) => name.startsWith("text_model"))).toEqual([]);

      const json = parent.at(`${base}.json`);
      await convertAdapter(adapter, { to: "json", projections: undefined, out: json, force: false });
      const fromJson = parent.at(`${base}-merged-json`);
      const signal = new AbortController().signal;
      for (const [from, out] of [[saved, merged] as const, [json, fromJson] as const]) {
        const notes = new Notes();
        await merge({ ...OPTIONS, base: folder, adapters: [from], out }, notes, signal);
        // CLIP's encoder of texts, which the targets match too, is none of the trained class.
        expect(notes.warnings).toEqual([]);
      }
      const weights = "model.safetensors";
      expect(await readFile(join(fromJson, weights))).toEqual(await readFile(join(merged, weights)));
      const written: unknown = JSON.parse(await readFile(join(merged, "config.json"), "utf8"));
      const architecture = base === "clip" ? "CLIPForImageClassification" : "Dinov2ForImageClassification";
      expect(written).toMatchObject({
        architectures: [architecture],
        id2label: { "1": "dog_house" },
        label2id: { owl: 2 },
      });

      using model = await loadImageModel(gpu, merged);
      expect(model.config.labels).toEqual(CLASSES);
      const found = await valuesOf((run) => model.recordLogits(run, BATCH.images));
      expect(found.length).toBe(18);
      for (const [at, logit] of trained.entries()) expect(found[at]).toBeCloseTo(logit, 5);
      // A whole CLIP stays one, beside its head.
      expect(model.text === undefined).toBe(base === "dinov2");
    }
  },
  COMPILE_TIMEOUT,
);

test("contrastive losses are those of their definitions", async () => {
  const folder = parent.at("clip");
  const begin: Record<string, number> = {};
  for (const loss of ["clip", "paper"] as const) {
    const trial = { folder, method: "lora", targets: ["q_proj"], task: contrastive(loss) } as const;
    [begin[loss] = NaN] = await trainImages(gpu, trial, 1);
  }
  using model = await loadImageModel(gpu, folder);
  const seen = await valuesOf((run) => model.recordImages(run, BATCH.images));
  const read = await valuesOf((run) => model.recordTexts(run, TEXTS));
  const scale = await model.logitScale();
  const [count, size] = [6, 12];
  const unit = (of: number[], row: number) => {
    const values = of.slice(row * size, (row + 1) * size);
    const length = Math.hypot(...values);
    return values.map((value) => value / length);
  };
  const labels = [...BATCH.labels];
  const cosine = (image: number, text: number) => {
    const [a, b] = [unit(seen, image), unit(read, labels[text] ?? NaN)];
    return a.reduce((sum, value, at) => sum + value * (b[at] ?? NaN), 0);
  };
  const numbers = [...labels.keys()];
  const crossEntropy = (factor: number, target: (row: number) => number, value: (row: number, col: number) => number) =>
    numbers.reduce((sum, row) => {
      const logits = numbers.map((col) => factor * value(row, col));
      const all = Math.log(logits.reduce((total, logit) => total + Math.exp(logit), 0));
      return sum + (all - (logits[target(row)] ?? NaN)) / count;
    }, 0);
  const factor = Math.exp(scale);
  const ofImages = crossEntropy(factor, (row) => row, cosine);
  const ofTexts = crossEntropy(
    factor,
    (row) => row,
    (text, image) => cosine(image, text),
  );
  expect(begin["clip"]).toBeCloseTo((ofImages + ofTexts) / 2, 4);
  const first = (row: number) => labels.indexOf(labels[row] ?? NaN);
  expect(begin["paper"]).toBeCloseTo(crossEntropy(scale, first, cosine), 4);
});

test("memory is measured with the longest texts", async () => {
  const trial = {
    folder: parent.at("clip"),
    method: "lora",
    targets: ["q_proj"],
    task: contrastive("clip"),
  } as const;
  await trainImages(gpu, trial, 1, async ({ task }) => {
    expect([...task.probe({ tokens: 4, targets: 4 }).labels]).toEqual([1, 0, 2, 1]);
  });
});

test("texts are refused where the model has no encoder of them", async () => {
  const trial = { folder: parent.at("dinov2"), method: "lora", targets: ["query"] } as const;
  for (const task of [zeroShot, contrastive("clip")]) {
    await expect(trainImages(gpu, { ...trial, task }, 1)).rejects.toThrow("no encoder of texts");
  }
});
