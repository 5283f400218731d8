import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { Gpu } from "../src/compute/gpu/gpu.ts";
import { recordSimilarities } from "../src/models/vision/testing/similarities.ts";
import { ImageModel } from "../src/models/vision/image-model.ts";
import { IMAGE_TYPES, loadImageConfig } from "../src/models/vision/index.ts";
import type { Images } from "../src/models/vision/patches.ts";
import { Checkpoint } from "../src/files/safetensors/checkpoint.ts";
import { Run } from "../src/compute/tensor/run.ts";
import { readRows } from "../src/compute/tensor/read-rows.ts";
import type { Tensor } from "../src/compute/tensor/tensor.ts";
import { loadTokenizer } from "../src/data/text/load-tokenizer.ts";
import { judge } from "./judge.ts";
import { openTensors } from "./tensors.ts";
import { passed } from "./verified.ts";

const Cases = v.record(
  v.string(),
  v.object({ texts: v.array(v.array(v.number())), size: v.tuple([v.number(), v.number()]) }),
);

const folder = await mkdtemp(join(tmpdir(), "randlora-vision-"));
await (await judge()).script("vision.py", folder);
const cases = v.parse(Cases, await Bun.file(join(folder, "cases.json")).json());

let gpu: Gpu;
beforeAll(async () => {
  gpu = await Gpu.open();
});
afterAll(async () => {
  gpu.close();
  await rm(folder, { recursive: true });
});

/** What is compared of a model, by the names of the file that transformers' results are in. */
type Results = Record<string, Float32Array | Float64Array>;

async function compute(name: string, pixels: Float32Array): Promise<Results> {
  const { texts, size } = cases[name] ?? { texts: [], size: [0, 0] };
  const model = join(folder, name);
  await using checkpoint = await Checkpoint.open(join(model, "model.safetensors"));
  const config = await loadImageConfig(model, checkpoint.tensors);
  using tower = ImageModel.allocate(gpu, checkpoint, config, { size });
  await tower.fill();
  const images: Images = { count: 3, size, pixels };
  using recording = new Run(gpu);
  const made: Record<string, Tensor> = {
    hidden: tower.recordHidden(recording, images),
    pooled: tower.recordImages(recording, images),
  };
  if (tower.head !== undefined) made["logits"] = tower.recordLogits(recording, images);
  if (tower.text !== undefined && made["pooled"] !== undefined) {
    made["texts"] = tower.recordTexts(recording, texts);
    const factor = Math.exp(await tower.logitScale());
    made["logits"] = recordSimilarities(recording, made["pooled"], made["texts"], factor);
  }
  for (const tensor of Object.values(made)) recording.keep(tensor);
  await recording.submit();
  const results: Results = {};
  for (const [key, tensor] of Object.entries(made)) {
    results[key] = await readRows(gpu, tensor, 0, tensor.shape[0]);
    gpu.memory.release(tensor.buffer);
  }
  const { logits } = made;
  if (logits !== undefined) results["probabilities"] = softmax(results["logits"] ?? [], logits.shape[1]);
  return results;
}

function softmax(logits: ArrayLike<number>, classes: number): Float64Array {
  const values = Float64Array.from(logits);
  for (let row = 0; row < values.length; row += classes) {
    const of = values.subarray(row, row + classes);
    const top = Math.max(...of);
    of.forEach((value, at) => (of[at] = Math.exp(value - top)));
    const sum = of.reduce((total, value) => total + value, 0);
    of.forEach((value, at) => (of[at] = value / sum));
  }
  return values;
}

test("CLIP's tokenizer makes of texts what Python's makes of them", async () => {
  const Tokens = v.array(v.object({ text: v.string(), ids: v.array(v.number()) }));
  const tokens = v.parse(Tokens, await Bun.file(join(folder, "tokens.json")).json());
  const tokenizer = await loadTokenizer(join(folder, "tokenizer"));
  expect(tokens.length).toBeGreaterThan(4);
  for (const { text, ids } of tokens) expect([...tokenizer.encode(text)], text).toEqual(ids);
});

describe("random-weight models of images compute what transformers computes", () => {
  test("every kind is tried", () => {
    const tried = new Set(Object.keys(cases).map((name) => name.split("-")[0]));
    expect([...tried].toSorted()).toEqual(IMAGE_TYPES.toSorted());
  });
  for (const name of Object.keys(cases)) {
    test(name, async () => {
      const wanted = new Map(
        [...openTensors(join(folder, name, "made.safetensors"))].map(([key, tensor]) => [key, tensor.values()]),
      );
      const found = await compute(name, Float32Array.from(wanted.get("pixels") ?? []));
      wanted.delete("pixels");
      expect(Object.keys(found).toSorted()).toEqual([...wanted.keys()].toSorted());
      for (const [key, numbers] of wanted) {
        const values = Float64Array.from(numbers);
        const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const mine = found[key] ?? [];
        expect(mine.length, key).toBe(values.length);
        const worst = values.reduce((most, value, at) => Math.max(most, Math.abs(value - (mine[at] ?? NaN))), 0);
        expect(worst, key).toBeLessThan(1e-4 * largest);
      }
      expect(gpu.memory.liveBytes).toBe(0);
      await passed(join(folder, name), ["logits"]);
    });
  }
});
