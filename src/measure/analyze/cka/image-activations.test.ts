import { afterAll, beforeAll, expect, test } from "bun:test";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { LoadedImageModel } from "../../images/model.ts";
import { readPreprocessing } from "../../../data/images/preprocessing.ts";
import { subsetOf } from "../../../data/images/datasets/types.ts";
import { readModel, rounded, widened, writeModel } from "../../../adapters/merge/testing/models.ts";
import { writeClip, writeDinov2 } from "../../../models/vision/testing/folder.ts";
import { collectImageActivations, outputModules } from "./activations.ts";
import { openSamples } from "../samples.ts";
import { writeImages } from "../../testing/images.ts";

let gpu: Device;
const folder = await TemporaryFolder.create();
beforeAll(async () => {
  gpu = await openTestDevice();
  await writeClip(folder.at("clip"));
  await writeDinov2(folder.at("dinov2"));
  await writeImages(folder.at("data"), "test");
}, 120_000);
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

async function activationsOf(name: string, weights = name, images?: readonly number[]) {
  const set = await openSamples({ data: folder.at("data") });
  const location = { folder: folder.at(name), weights: undefined };
  const preprocessing = await readPreprocessing(location.folder);
  const modules = await outputModules(location);
  using opened = await LoadedImageModel.open(gpu, { ...location, folder: folder.at(weights) }, { adapters: [] });
  const options = { preprocessing, batchSize: 3, modules };
  return await collectImageActivations(opened, images === undefined ? set : subsetOf(set, images), options);
}

test("an image's rows are those that it has alone; modules have their checkpoint's names", async () => {
  const [clip, dinov2] = [await activationsOf("clip"), await activationsOf("dinov2")];
  expect(clip.map(({ name }) => name)).toEqual([
    "vision_model.encoder.layers.0.self_attn.out_proj",
    "vision_model.encoder.layers.0.mlp.fc2",
    "vision_model.encoder.layers.1.self_attn.out_proj",
    "vision_model.encoder.layers.1.mlp.fc2",
  ]);
  expect(dinov2.map(({ name }) => name).slice(0, 2)).toEqual([
    "encoder.layer.0.attention.output.dense",
    "encoder.layer.0.mlp.fc2",
  ]);
  for (const [name, all] of Object.entries({ clip, dinov2 })) {
    for (const image of [0, 4, 9]) {
      const alone = await activationsOf(name, name, [image]);
      for (const [at, { rows, width }] of alone.entries()) {
        const among = all[at]?.rows.subarray(image * width, (image + 1) * width) ?? [];
        const apart = Math.max(...rows.map((value, i) => Math.abs(value - (among[i] ?? NaN))));
        expect(apart).toBeLessThan(1e-5 * Math.max(...rows.map(Math.abs)));
      }
    }
  }
});

test("what is looked at is what the matrix gives with its bias, before it is scaled and added", async () => {
  const tensors = await readModel(folder.at("dinov2"));
  const zeroed = (name: string) => {
    const found = tensors[name];
    if (found === undefined) throw new RangeError(name);
    return { ...found, data: rounded(widened(found).fill(0), "F32") };
  };
  const config = await Bun.file(`${folder.at("dinov2")}/config.json`).json();
  const names = ["encoder.layer.1.attention.output.dense.weight", "encoder.layer.1.layer_scale2.lambda1"];
  const changed = { ...tensors, ...Object.fromEntries(names.map((name) => [name, zeroed(name)])) };
  await writeModel(folder.at("changed"), { tensors: changed, config });
  const [before, after] = [await activationsOf("dinov2"), await activationsOf("dinov2", "changed")];
  expect(after.slice(0, 2)).toEqual(before.slice(0, 2));
  const bias = tensors["encoder.layer.1.attention.output.dense.bias"];
  if (bias === undefined) throw new RangeError();
  const wanted = [...widened(bias)].map(Math.fround);
  expect([...(after[2]?.rows.subarray(0, 8) ?? [])]).toEqual(wanted);
  expect([...(after[2]?.rows.subarray(72, 80) ?? [])]).toEqual(wanted);
  // The factor of the last MLP's output is zero: what it is a factor of is seen all the same.
  expect(Math.max(...(after[3]?.rows ?? []).map(Math.abs))).toBeGreaterThan(0);
});
