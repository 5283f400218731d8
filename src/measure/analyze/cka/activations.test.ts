import { afterAll, beforeAll, expect, test } from "bun:test";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { join } from "node:path";
import { STORIES } from "../../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { readModel, rounded, widened, writeModel } from "../../../adapters/merge/testing/models.ts";
import { loadDecoder } from "../../../models/folder/load-decoder.ts";
import { collectActivations } from "./activations.ts";
import { storySamples } from "../../testing/story-samples.ts";

let folder: TemporaryFolder;
let gpu: Device;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
  gpu = await openTestDevice();
}, 120_000);
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

/** Stories with some weights multiplied. */
async function changed(name: string, factors: Readonly<Record<string, number>>): Promise<string> {
  const tensors = await readModel(STORIES);
  for (const [tensor, factor] of Object.entries(factors)) {
    const found = tensors[`${tensor}.weight`];
    if (found === undefined) throw new RangeError(tensor);
    const values = widened(found).map((value) => factor * value);
    tensors[`${tensor}.weight`] = { ...found, data: rounded(values, "F32") };
  }
  return await writeModel(folder.at(name), {
    tensors,
    config: await Bun.file(join(STORIES, "config.json")).json(),
  });
}

async function activationsOf(model: string, lengths: readonly number[]) {
  using decoder = await loadDecoder(gpu, model);
  return await collectActivations(decoder, storySamples(lengths));
}

/** More tokens than one pass takes. */
const LENGTHS = [3, 500, 500, 500, 500, 500, 7, 1 + 1];

test("a sample's means are those that it has alone, whatever shares its pass", async () => {
  const counted: number[] = [];
  using decoder = await loadDecoder(gpu, STORIES);
  const data = storySamples(LENGTHS);
  const all = await collectActivations(decoder, data, { onSamples: (samples) => counted.push(samples) });
  expect(counted).toEqual([5, 3]);
  expect(all.map(({ name }) => name)).toEqual(
    Array.from({ length: 5 }, (_, layer) => [
      `model.layers.${layer}.self_attn.o_proj`,
      `model.layers.${layer}.mlp.down_proj`,
    ]).flat(),
  );
  for (const sample of [0, 4, 6, 7]) {
    const alone = await collectActivations(decoder, data.select([sample]));
    for (const [at, { rows, width }] of alone.entries()) {
      const among = all[at]?.rows.subarray(sample * width, (sample + 1) * width) ?? [];
      const apart = Math.max(...rows.map((value, i) => Math.abs(value - (among[i] ?? NaN))));
      expect(apart).toBeLessThan(1e-5 * Math.max(...rows.map(Math.abs)));
    }
  }
});

test("what is looked at is the output of a block's last matrix, without the residual stream", async () => {
  const before = await activationsOf(STORIES, [5, 9, 4]);
  const silent = await activationsOf(await changed("silent", { "model.layers.2.self_attn.o_proj": 0 }), [5, 9, 4]);
  expect(silent[4]?.rows.every((value) => value === 0)).toBe(true);
  expect(silent.slice(0, 4)).toEqual(before.slice(0, 4));
  expect(silent[5]?.rows).not.toEqual(before[5]?.rows ?? new Float32Array());
  const loud = await activationsOf(await changed("loud", { "model.layers.4.mlp.down_proj": 2 }), [5, 9, 4]);
  expect(loud.slice(0, 9)).toEqual(before.slice(0, 9));
  expect(loud[9]?.rows).toEqual(before[9]?.rows.map((value) => 2 * value) ?? new Float32Array());
});
