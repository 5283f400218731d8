// Runs that train magnitudes: DoRA's, and RandLoRA's with --dora.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { convertAdapter } from "../../adapters/formats/convert.ts";
import { openAdapter } from "../../adapters/formats/open.ts";
import { magnitudeOf, writeDora } from "../../adapters/testing/magnitudes.ts";
import { SafetensorsFile } from "../../files/safetensors/file.ts";
import { estimateRun } from "./finetune.ts";
import { initialSettings } from "../model/init-adapter.ts";
import { type AskedSettings, resolveSettings } from "../settings/resolve-settings.ts";
import { formatSettings, parseTrainSettings } from "../settings/settings.ts";
import { inputFor, trainInto } from "../testing/runs.ts";
import { ShortRuns } from "../testing/short-runs.ts";
import { LAYERS } from "../testing/small-model.ts";

let runs: ShortRuns;
beforeAll(async () => {
  runs = await ShortRuns.open({ data: 8, valid: 2 });
});
afterAll(() => runs[Symbol.asyncDispose]());

const small = (asked: Partial<AskedSettings>) => runs.plain({ steps: 3, learningRate: 5e-3, ...asked });

/** q and v lie joined with k, which is not adapted. */
const TARGETS = ["q_proj", "v_proj", "down_proj"];
const OUTPUTS = 64 + 32 + 64;

test("the run's adapter is merged, and training goes on from it as if there had been no pause", async () => {
  const asked = { dora: true, rank: 32, targets: TARGETS };
  const { result, recording } = await runs.train("first", await small(asked));
  expect(result.trainableParameters).toBe(LAYERS * (2 * (32 + 64) + (32 + 32) + 2 * (32 + 64) + OUTPUTS));
  const path = runs.folder.at("first");
  const { merged, out } = await runs.merge(path, "merged");
  expect(merged).toBe(3 * LAYERS);
  // The merged model's loss is the trained one's.
  expect(Math.abs((await runs.lossOf(out)) / (result.validLoss ?? NaN) - 1)).toBeLessThan(1e-5);
  expect(result.validLoss).toBeLessThan(recording.firstLoss - 0.02);

  const init = await initialSettings(path, undefined);
  expect(init).toMatchObject({ method: "randlora", rank: 32, dora: true });
  const settings = await small({ ...init, steps: 1, initAdapter: join(path, "adapter") });
  const on = await runs.train("on", settings);
  expect(on.recording.metrics[0]).toEqual({ step: 0, valid_loss: result.validLoss ?? NaN });

  // It is resumed without the adapter that it began with.
  await rename(path, runs.folder.at("moved"));
  expect((await runs.train("on", { ...settings, steps: 2, schedule: "constant" })).result.steps).toBe(2);
});

test("what is recomputed, and dropped, is the same; the estimate holds", async () => {
  const asked = { model: STORIES, dora: true, rank: 32, targets: TARGETS, steps: 2, dropout: 0.2, gradAccum: 2 };
  const settings = await small(asked);
  const kept = await trainInto(runs.folder.at("kept"), settings);
  const spared = await trainInto(runs.folder.at("spared"), { ...settings, checkpointActivations: true });
  expect(spared.recording.losses).toEqual(kept.recording.losses);
  for (const { estimatedGpuBytes, peakGpuBytes } of [kept.result, spared.result]) {
    expect(Math.abs(estimatedGpuBytes / peakGpuBytes - 1)).toBeLessThan(0.15);
  }
});

test.each(["paper", "half-rank"] as const)(
  "%s RandLoRA with magnitudes is saved, converted and gone on with",
  async (variant) => {
    const settings = await small({ dora: true, variant, rank: 16, targets: ["v_proj"], steps: 1 });
    const { result } = await runs.train(`${variant}-dora`, settings);
    const path = runs.folder.at(`${variant}-dora`, "adapter");
    expect(await initialSettings(path, undefined)).toMatchObject({ method: "randlora", variant, dora: true });
    const [json, back] = ["json", "back"].map((name) => runs.folder.at(`${variant}-${name}`)) as [string, string];
    for (const [from, to, out] of [
      [path, "json", `${json}.json`],
      [`${json}.json`, "peft", back],
    ] as const) {
      await using adapter = await openAdapter(from);
      await convertAdapter(adapter, { to, out, projections: undefined });
    }
    const [before, after] = [path, back].map((folder) => Bun.file(join(folder, "adapter_model.safetensors")).bytes());
    expect(Buffer.compare((await before) ?? Buffer.of(0), (await after) ?? Buffer.of(1))).toBe(0);
    expect(await Bun.file(join(back, "README.md")).text()).toContain("cannot load it");
    const on = await small({ ...(await initialSettings(back, undefined)), initAdapter: back, steps: 1 });
    const { recording } = await runs.train(`${variant}-dora-on`, on);
    expect(recording.metrics[0]).toEqual({ step: 0, valid_loss: result.validLoss ?? NaN });
  },
);

test("ranks of single modules and magnitudes of an adapter are gone on with, and written as PEFT has them", async () => {
  const [q, down] = ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"] as const;
  const lora = {
    r: 2,
    alpha: 4,
    seed: 1,
    modules: { [q]: [64, 64], [down]: [64, 172] },
    ranks: { [down]: 5 },
  } as const;
  const path = await writeDora(runs.folder.at("patterns"), lora, {
    config: { alpha_pattern: { q_proj: 1 }, revision: "kept" },
  });
  const settings = await small({ ...(await initialSettings(path, undefined)), initAdapter: path, steps: 1 });
  const { method } = await estimateRun({ ...(await inputFor(settings)), gpu: runs.gpu });
  expect(method.modules.map(({ parameters }) => parameters)).toEqual([2 * 128 + 64, 5 * (64 + 172) + 64]);
  await runs.train("patterns-on", settings);
  await using trained = await openAdapter(runs.folder.at("patterns-on"));
  expect(trained.config).toMatchObject({ use_dora: true, rank_pattern: { [down]: 5 }, revision: "kept" });
  // One step of AdamW moves every number by about the learning rate, not to other places.
  const bytes = await trained.tensors.get(`${down}.lora_magnitude_vector`)?.readAll();
  const now = new Float32Array(bytes?.buffer ?? new ArrayBuffer());
  const old = magnitudeOf(down, 64);
  expect(now.length).toBe(64);
  for (const [row, value] of now.entries()) expect(Math.abs(value - (old[row] ?? NaN))).toBeWithin(1e-4, 6e-3);
  await using file = await SafetensorsFile.open(runs.folder.at("patterns-on", "adapter", "adapter_model.safetensors"));
  const vectors = file.header.byOffset.filter(({ name }) => name.includes("magnitude"));
  expect(vectors.map(({ name, shape }) => [name, shape])).toEqual([
    [`base_model.model.${q}.lora_magnitude_vector`, [64]],
    [`base_model.model.${down}.lora_magnitude_vector`, [64]],
  ]);
});

test("flags: which method has magnitudes, which are refused, and with what hint", async () => {
  const facts = { modelType: "llama", contextLength: 512 };
  const asked = { model: STORIES, data: runs.data };
  const refused = (more: Partial<AskedSettings>) => {
    try {
      return resolveSettings({ ...asked, ...more }, facts);
    } catch (thrown) {
      return thrown;
    }
  };
  expect(refused({ method: "lora", dora: true })).toMatchObject({ code: "usage", hint: "give --method dora" });
  expect(refused({ method: "dora", dora: true })).toMatchObject({ code: "usage", hint: "leave it out" });
  expect(refused({ method: "hybrid", dora: true })).toMatchObject({ code: "usage" });
  expect(resolveSettings({ ...asked, method: "dora" }, facts)).toMatchObject({
    learningRate: 1e-4,
    adapter: { rank: 8, alpha: 16, rslora: false },
  });
  const settings = resolveSettings({ ...asked, dora: true }, facts);
  expect(settings.adapter).toMatchObject({ rank: 32, alpha: 640, dora: true });
  // What an earlier version wrote of a RandLoRA says nothing of magnitudes.
  const written = formatSettings(resolveSettings(asked, facts));
  const { dora, ...earlier } = written["adapter"] as Record<string, unknown>;
  expect(dora).toBe(false);
  expect(parseTrainSettings({ ...written, adapter: earlier }, "run.json")).toMatchObject({ adapter: { dora: false } });
});
