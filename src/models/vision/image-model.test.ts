import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import { repitched } from "../../compute/tensor/repitch.ts";
import { Run } from "../../compute/tensor/run.ts";
import { Tape } from "../../compute/tensor/tape.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { recordScaledUnit } from "./heads.ts";
import { recordSimilarities } from "./testing/similarities.ts";
import type { ImageModel } from "./image-model.ts";
import type { Images } from "./patches.ts";
import {
  CLIP,
  CLIP_SHAPES,
  DINOV2,
  DINOV2_SHAPES,
  loadImageModel,
  images,
  type Shapes,
  writeImageModel,
} from "./testing/models.ts";
import { endOf } from "./text-tower.ts";

const COMPILE_TIMEOUT = 120_000;

let gpu: Device;
let parent: TemporaryFolder;
beforeAll(async () => {
  gpu = await openTestDevice();
  parent = await TemporaryFolder.create();
});
afterAll(async () => {
  gpu.close();
  await parent[Symbol.asyncDispose]();
});

async function folderOf(config: object, shapes: Shapes): Promise<string> {
  const folder = parent.at(crypto.randomUUID());
  await writeImageModel(folder, config, shapes);
  return folder;
}

async function valuesOf(record: (run: Run) => Tensor): Promise<number[]> {
  using run = new Run(gpu);
  const y = run.keep(record(run));
  await run.submit();
  const values = await readRows(gpu, y, 0, y.shape[0]);
  gpu.memory.release(y.buffer);
  return [...values];
}

function one({ size, pixels }: Images, index: number): Images {
  const length = 3 * size[0] * size[1];
  return { count: 1, size, pixels: pixels.subarray(index * length, (index + 1) * length) };
}

function expectClose(found: readonly number[], wanted: readonly number[]): void {
  const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expect(largest).toBeGreaterThan(0);
  const worst = wanted.reduce((most, value, at) => Math.max(most, Math.abs(value - (found[at] ?? NaN))), 0);
  expect(found.length).toBe(wanted.length);
  expect(worst).toBeLessThan(1e-5 * largest);
}

test(
  "images of a batch and texts of a batch do not see one another, nor what is behind an end token",
  async () => {
    using clip = await loadImageModel(gpu, await folderOf(CLIP, CLIP_SHAPES));
    const batch = images(3, [12, 12]);
    const together = await valuesOf((run) => clip.recordImages(run, batch));
    const alone = [0, 1, 2].map((index) => valuesOf((run) => clip.recordImages(run, one(batch, index))));
    expectClose(together, (await Promise.all(alone)).flat());

    const texts = [
      [3, 4, 19],
      [5, 19, 7, 8],
      [6, 7, 8, 9, 10, 19],
    ];
    const all = await valuesOf((run) => clip.recordTexts(run, texts));
    const each = texts.map((text) => valuesOf((run) => clip.recordTexts(run, [text.slice(0, endOf(text, 19) + 1)])));
    expectClose(all, (await Promise.all(each)).flat());
  },
  COMPILE_TIMEOUT,
);

test("the token that stands for a text: the first end token, the first of all, or the first of the highest id", () => {
  expect(endOf([5, 3, 7, 7, 7], 7)).toBe(2);
  expect(endOf([5, 3, 9], 7)).toBe(0);
  expect(endOf([5, 9, 2, 9], 2)).toBe(1);
});

describe("gradients", () => {
  async function differentiate(weight: Tensor, record: (recorder: Recorder) => Tensor) {
    using run = new Run(gpu);
    const tape = new Tape(run);
    const [rows, cols] = weight.shape;
    const gradient = run.keep(run.upload("gradient", weight.shape, new Float32Array(rows * cols)));
    tape.watch(weight, gradient);
    const y = record(tape);
    const slopes = Float32Array.from({ length: y.shape[0] * y.shape[1] }, (_, at) => Math.cos(at));
    tape.backward(y, run.upload("slopes", y.shape, slopes));
    await run.submit();
    return { gradient, slopes };
  }

  /** The loss Σ y · slopes, along the gradient by a matrix of the model, against its change. */
  async function check(model: ImageModel, name: string, record: (recorder: Recorder) => Tensor): Promise<void> {
    const weight = model.tensors.get(name);
    if (weight === undefined) throw new Error(`no ${name}`);
    const [rows, cols] = weight.shape;
    const before = gpu.memory.liveBytes;
    const { gradient, slopes } = await differentiate(weight, record);
    const direction = await readRows(gpu, gradient, 0, rows);
    gpu.memory.release(gradient.buffer);
    expect(gpu.memory.liveBytes).toBe(before);
    const square = direction.reduce((sum, value) => sum + value * value, 0);
    expect(square).toBeGreaterThan(0);
    const values = await readRows(gpu, weight, 0, rows);
    const write = (numbers: Float32Array<ArrayBuffer>) => {
      // Behind a single row may be what belongs to others.
      const pitch = rows === 1 ? cols : weight.pitch;
      const bytes = repitched(new Uint8Array(numbers.buffer), rows, cols * 4, pitch * 4);
      gpu.write(weight.buffer, bytes, weight.offset * 4);
    };
    const loss = async (by: number) => {
      write(values.map((value, at) => value + by * (direction[at] ?? NaN)));
      const found = await valuesOf(record);
      return found.reduce((sum, value, at) => sum + value * (slopes[at] ?? NaN), 0);
    };
    // Along a small gradient a longer way, or the loss changes by little more than f32 rounds it.
    const length = Math.sqrt(square);
    const step = Math.max(1e-2, 1e-4 / length) / length;
    const slope = ((await loss(step)) - (await loss(-step))) / (2 * step);
    write(values);
    expect(Math.abs(slope / square - 1)).toBeLessThan(5e-3);
  }

  test.each([false, true])(
    "lead from features of images to every part of an encoder (checkpoints: %p)",
    async (checkpointing) => {
      using model = await loadImageModel(gpu, await folderOf(DINOV2, DINOV2_SHAPES));
      const batch = images(2, [12, 12]);
      const names = [
        "embeddings.cls_token",
        "embeddings.position_embeddings",
        "embeddings.patch_embeddings.projection.weight",
        "embeddings.patch_embeddings.projection.bias",
        "encoder.layer.0.norm1.weight",
        "encoder.layer.0.attention.attention.key.weight",
        "encoder.layer.0.attention.attention.value.bias",
        "encoder.layer.0.layer_scale1.lambda1",
        "encoder.layer.1.mlp.fc2.weight",
        "layernorm.bias",
      ];
      for (const name of names) {
        await check(model, name, (recorder) => {
          const hidden = model.recordHidden(recorder, batch, { checkpointing });
          const features = model.vision.recordFeatures(recorder, hidden);
          recorder.release(hidden);
          return features;
        });
      }
    },
    COMPILE_TIMEOUT,
  );

  test(
    "lead to positions that are interpolated",
    async () => {
      using model = await loadImageModel(gpu, await folderOf(DINOV2, DINOV2_SHAPES), { size: [8, 16] });
      const batch = images(2, [8, 16]);
      await check(model, "embeddings.position_embeddings", (recorder) => {
        const hidden = model.recordHidden(recorder, batch);
        const features = model.vision.recordFeatures(recorder, hidden);
        recorder.release(hidden);
        return features;
      });
    },
    COMPILE_TIMEOUT,
  );

  test.each(["power", "itself"] as const)(
    "lead to the scale of logits (%s)",
    async (factor) => {
      using model = await loadImageModel(gpu, await folderOf(CLIP, CLIP_SHAPES));
      const { logitScale } = model.joint ?? {};
      if (logitScale === undefined) throw new Error("no scale");
      const batch = images(2, [12, 12]);
      await check(model, "logit_scale", (recorder) => {
        const seen = model.recordImages(recorder, batch);
        const scaled = recordScaledUnit(recorder, seen, logitScale, factor);
        recorder.release(seen);
        return scaled;
      });
    },
    COMPILE_TIMEOUT,
  );

  test(
    "lead from the cosines of images and texts to both encoders",
    async () => {
      using model = await loadImageModel(gpu, await folderOf(CLIP, CLIP_SHAPES));
      const batch = images(2, [12, 12]);
      const names = [
        "vision_model.embeddings.class_embedding",
        "vision_model.pre_layrnorm.weight",
        "vision_model.encoder.layers.0.self_attn.v_proj.weight",
        "vision_model.post_layernorm.bias",
        "text_model.embeddings.token_embedding.weight",
        "text_model.embeddings.position_embedding.weight",
        "text_model.final_layer_norm.weight",
        "text_projection.weight",
      ];
      for (const name of names) {
        await check(model, name, (recorder) => {
          const [seen, read] = [
            model.recordImages(recorder, batch),
            model.recordTexts(recorder, [
              [3, 19],
              [4, 5, 19],
            ]),
          ];
          const cosines = recordSimilarities(recorder, seen, read, 3);
          recorder.release(seen, read);
          return cosines;
        });
      }
    },
    COMPILE_TIMEOUT,
  );
});

test(
  "what positions of another grid are sums of lies on the device once, and goes with the model",
  async () => {
    const before = gpu.memory.liveBytes;
    {
      using model = await loadImageModel(gpu, await folderOf(DINOV2, DINOV2_SHAPES), { size: [8, 16] });
      const uploaded: string[] = [];
      const batch = images(2, [8, 16]);
      const pass = () =>
        valuesOf((run) => {
          const upload = run.upload.bind(run);
          run.upload = (label, ...rest) => {
            uploaded.push(label);
            return upload(label, ...rest);
          };
          return model.recordHidden(run, batch);
        });
      expect(await pass()).toEqual(await pass());
      expect(uploaded).toContain("patches");
      expect(uploaded).not.toContain("interpolation");
    }
    expect(gpu.memory.liveBytes).toBe(before);
  },
  COMPILE_TIMEOUT,
);

describe("refuses with a reason", () => {
  const { "layernorm.bias": _, ...incomplete } = DINOV2_SHAPES;
  const oblong = { ...DINOV2_SHAPES, "embeddings.position_embeddings": [1, 4, 8] };
  const refused: readonly [what: string, config: object, shapes: Shapes, message: string, hint: string][] = [
    ["another kind of model", { model_type: "vit" }, DINOV2_SHAPES, "models of type", "supported: clip, dinov2"],
    ["grey images", { ...DINOV2, num_channels: 1 }, DINOV2_SHAPES, "images of 1 channels", "supported: 3"],
    ["odd heads", { ...DINOV2, num_attention_heads: 4 }, DINOV2_SHAPES, "heads of 2", "multiples of 4"],
    ["heads of no size", { ...DINOV2, num_attention_heads: 3 }, DINOV2_SHAPES, "no 3 equal heads", ""],
    ["patches above images", { ...DINOV2, patch_size: [4, 13] }, DINOV2_SHAPES, "patches of 4×13", ""],
    ["another activation", { ...DINOV2, hidden_act: "relu" }, DINOV2_SHAPES, "activation", "quick_gelu"],
    ["a size that is none", { ...DINOV2, image_size: [1, 2, 3] }, DINOV2_SHAPES, "image_size", ""],
    ["missing weights", DINOV2, incomplete, "layernorm.bias", "incomplete"],
    ["weights left over", { ...DINOV2, qkv_bias: false }, DINOV2_SHAPES, "query.bias", "another model"],
    ["positions of no square", { ...DINOV2, image_size: [4, 12] }, oblong, "3 positions make no square", "4×12"],
    ["two ends of texts", { ...CLIP, text_config: { eos_token_id: [1, 2] } }, CLIP_SHAPES, "eos_token_id", ""],
  ];
  test.each(refused)("%s", async (_, config, shapes, message, hint) => {
    const loading = loadImageModel(gpu, await folderOf(config, shapes));
    const thrown: unknown = await loading.catch((error: unknown) => error);
    expect(String(thrown)).toContain(message);
    expect((thrown as { hint?: string }).hint ?? "").toContain(hint);
  });

  test("texts that do not fit", async () => {
    using clip = await loadImageModel(gpu, await folderOf(CLIP, CLIP_SHAPES));
    using run = new Run(gpu);
    expect(() => clip.recordTexts(run, [[1, 2, 3, 4, 5, 6, 7]])).toThrow("7 tokens: this model takes 6");
    expect(() => clip.recordTexts(run, [[20]])).toThrow("token 20 is beyond");
    expect(() => clip.recordTexts(run, [[]])).toThrow("without tokens");
  });
});
