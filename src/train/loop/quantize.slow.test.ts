// Runs whose frozen layers are quantized: the losses of the base that was rounded before, and the same bytes whatever
// interrupts them.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { tensorBytes } from "../../compute/device/tensor.ts";
import { multipliesWholeNumbers } from "../../compute/device/testing/stagings.ts";
import { writeRounded } from "../../adapters/merge/testing/rounded.ts";
import { Notes, OPTIONS } from "../../adapters/merge/testing/merge.ts";
import { readModel } from "../../adapters/merge/testing/models.ts";
import { merge } from "../../adapters/merge/to-files/run.ts";
import { estimateRun } from "./finetune.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import { resumeSettings } from "../settings/resume-settings.ts";
import { formatSettings, parseTrainSettings, type TrainSettings } from "../settings/settings.ts";
import { inputFor, type Recording } from "../testing/runs.ts";
import { ShortRuns } from "../testing/short-runs.ts";
import { LAYERS } from "../testing/small-model.ts";

let runs: ShortRuns;
beforeAll(async () => {
  runs = await ShortRuns.open({ data: 8, valid: 2 });
  for (const [name, dtype] of [
    ["q8", "Q8_0"],
    ["q4", "Q4_0"],
  ] as const) {
    await writeRounded(runs.model, runs.folder.at(name), dtype);
  }
});
afterAll(() => runs[Symbol.asyncDispose]());

function small(asked: Partial<AskedSettings> = {}): Promise<TrainSettings> {
  const targets = ["q_proj", "v_proj", "up_proj", "down_proj"];
  return runs.plain({
    targets,
    rank: 8,
    gradAccum: 2,
    steps: 3,
    saveEvery: 2,
    evalEvery: 2,
    learningRate: 2e-3,
    ...asked,
  });
}

/** Every loss of a run, in training and in validation. */
function losses({ metrics }: Recording): number[] {
  return metrics.map((one) => ("loss" in one ? one.loss : one.valid_loss));
}

test.each<[string, "q8" | "q4", Partial<AskedSettings>]>([
  ["randlora, factored", "q8", { compute: "factored" }],
  ["randlora, merged, dropout", "q4", { compute: "merged", dropout: 0.1 }],
  ["lora", "q4", { method: "lora" }],
  ["dora", "q8", { method: "dora" }],
])(
  "%s, %s: the losses are those on a base that was rounded before",
  async (name, quantize, asked) => {
    const { recording } = await runs.train(`${name}-blocks`, await small({ quantize, ...asked }));
    const model = runs.folder.at(quantize);
    const { recording: wanted } = await runs.train(`${name}-rounded`, await small({ model, ...asked }));
    const whole = losses(wanted);
    const most = multipliesWholeNumbers(runs.gpu.staging) ? 1e-4 : 2e-5;
    losses(recording).forEach((loss, at) => expect(Math.abs(loss / (whole[at] ?? NaN) - 1)).toBeLessThan(most));
    expect(whole.length).toBeGreaterThan(4);
  },
  60_000,
);

test("a run that was interrupted goes on in the same blocks and ends at the same bytes", async () => {
  const settings = await small({ quantize: "q8", steps: 4 });
  await runs.train("whole", settings);
  await runs.trainInParts("parts", settings);
  expect(await runs.outcome("parts")).toEqual(await runs.outcome("whole"));
}, 60_000);

test("merging says that the run had quantized weights, and adds to those as stored", async () => {
  await runs.train("merged", await small({ quantize: "q8", steps: 2 }));
  for (const adapter of [runs.folder.at("merged"), runs.folder.at("merged", "adapter")]) {
    const notes = new Notes();
    const out = runs.folder.at("out");
    await merge(
      { ...OPTIONS, base: runs.model, adapters: [adapter], out, force: true },
      notes,
      AbortSignal.timeout(60_000),
    );
    expect(notes.warnings).toEqual([expect.stringContaining("trained beside weights in q8")]);
  }
  const [stored, changed] = [await readModel(runs.model), await readModel(runs.folder.at("out"))];
  const name = "model.layers.0.self_attn.k_proj.weight";
  expect(changed[name]?.data).toEqual(stored[name]?.data ?? new Uint8Array());
}, 60_000);

test("run.json has the format, runs of earlier versions had none, and a resumed run keeps its own", async () => {
  const settings = await small({ quantize: "q4" });
  const written = formatSettings(settings);
  expect(written["quantize"]).toBe("q4");
  expect(parseTrainSettings(written, "run.json")).toEqual(settings);
  const { quantize: _, ...earlier } = written;
  expect(parseTrainSettings(earlier, "run.json").quantize).toBeNull();
  expect(resumeSettings(settings, { quantize: "q4" })).toEqual(settings);
  expect(() => resumeSettings(settings, { quantize: "q8" })).toThrow("--quantize q8: the run cannot be resumed with");
  await expect(runs.settings({ quantize: "q8", method: "full" })).rejects.toThrow(
    "--quantize q8 has no meaning with --method full",
  );
});

test("a summary tells the bytes of the quantized weights, and of the same as stored", async () => {
  const { method } = await estimateRun({ ...(await inputFor(await small({ quantize: "q8" }))), gpu: runs.gpu });
  // Of all layers, and the embedding; rows of down_proj are 172 numbers and stay as stored.
  const shapes = [
    [128, 64],
    [64, 64],
    [344, 64],
  ] as const;
  const sum = (bytes: (shape: readonly [number, number]) => number) =>
    LAYERS * shapes.reduce((all, one) => all + bytes(one), 0) + bytes([512, 64]);
  expect(method.quantized).toEqual({
    dtype: "Q8_0",
    bytes: sum((shape) => tensorBytes(shape, "Q8_0")),
    stored: sum(([rows, cols]) => 4 * rows * cols),
  });
});
