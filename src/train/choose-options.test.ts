import { expect, test } from "bun:test";
import { Gpu } from "../gpu/gpu.ts";
import { TemporaryFolder } from "../safetensors/testing.ts";
import { chooseOptions } from "./choose-options.ts";
import { planRun } from "./data.ts";
import { ModelSource } from "./model.ts";
import { inputFor, settingsFor, writeTexts } from "./testing.ts";

test("activations are recomputed where memory would not suffice otherwise, unless the run began without", async () => {
  await using folder = await TemporaryFolder.create();
  const data = await writeTexts(folder.at("train.jsonl"), 24);
  const settings = await settingsFor({ data, rank: 8, batchSize: 24 });
  const { location, data: loaded } = await inputFor(settings);
  await using source = await ModelSource.open(settings, location);
  using gpu = await Gpu.open();
  const plan = planRun(settings, loaded);
  const choose = async (free: number, began?: Parameters<typeof chooseOptions>[3]) => {
    const warnings: string[] = [];
    const { bytes, options } = await chooseOptions(gpu, source, plan, began, (line) => warnings.push(line), free);
    return { bytes, checkpointing: options.checkpointing, warnings };
  };
  const kept = await choose(Infinity);
  expect(kept).toMatchObject({ checkpointing: false, warnings: [] });
  expect((await choose(kept.bytes)).checkpointing).toBe(false);
  const spared = await choose(kept.bytes - 1);
  expect(spared).toMatchObject({
    checkpointing: true,
    warnings: [expect.stringMatching(/^about .* would be needed and .* are free: activations are recomputed/)],
  });
  expect(spared.bytes).toBeLessThan(kept.bytes);
  expect(await choose(0, { checkpointing: false })).toEqual(kept);
});
