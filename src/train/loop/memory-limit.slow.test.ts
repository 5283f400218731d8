import { expect, test } from "bun:test";
import { CpuDevice } from "../../compute/cpu/cpu.ts";
import { RandloraError } from "../../files/errors.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { outcomeOf, Recording, settingsFor, trainInto, writeTexts } from "../testing/runs.ts";

test("--memory: activations are recomputed where that suffices, to the same bytes, and the batch that fits is named where nothing does", async () => {
  await using folder = await TemporaryFolder.create();
  const data = await writeTexts(folder.at("train.jsonl"), 24);
  const settings = await settingsFor({ data, rank: 8, steps: 2, saveEvery: 2, batchSize: 24, learningRate: 5e-3 });
  const into = async (name: string, memory: number | undefined, of = settings) => {
    using device = await CpuDevice.open({ threads: 2, memory });
    const recording = new Recording();
    const { estimatedGpuBytes } = await trainInto(folder.at(name), of, recording, undefined, device).then(
      ({ result }) => result,
    );
    expect(device.memory.peakBytes).toBeLessThanOrEqual(memory ?? Infinity);
    return { bytes: estimatedGpuBytes, warnings: recording.warnings };
  };
  const kept = await into("kept", undefined);
  const spared = await into("spared", Math.floor(0.95 * kept.bytes));
  expect(spared.warnings).toEqual([expect.stringMatching(/are free: activations are recomputed instead of kept$/)]);
  const adapters = async (name: string) =>
    Object.entries(await outcomeOf(folder.at(name))).filter(([path]) => path.startsWith("adapter"));
  expect(await adapters("spared")).toEqual(await adapters("kept"));

  const limit = Math.floor(0.8 * spared.bytes);
  const refused: unknown = await into("refused", limit).catch((error: unknown) => error);
  if (!(refused instanceof RandloraError)) throw new Error("not refused");
  expect(refused.message).toMatch(/^about [\d.]+ MB of memory are needed, and --memory allows [\d.]+ MB$/);
  const batchSize = Number(/\(--batch-size (\d+) takes about/.exec(refused.hint)?.[1]);
  expect(refused.hint).toEndWith("or raise --memory");
  await into("smaller", limit, { ...settings, batchSize });
});
