// Runs of VeRA: adapters that other commands open, training that goes on, and the same bytes whatever interrupts it.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { openAdapter } from "../../adapters/formats/open.ts";
import { estimateRun } from "./finetune.ts";
import { type AskedSettings, resolveSettings } from "../settings/resolve-settings.ts";
import { readShapes } from "../../adapters/base/named-base.ts";
import { inputFor } from "../testing/runs.ts";
import { ShortRuns } from "../testing/short-runs.ts";
import { LAYERS } from "../testing/small-model.ts";

let runs: ShortRuns;
beforeAll(async () => {
  runs = await ShortRuns.open({ data: 8, valid: 2 });
});
afterAll(() => runs[Symbol.asyncDispose]());

const small = (asked: Partial<AskedSettings>) =>
  runs.settings({
    method: "vera",
    rank: 20,
    learningRate: 3e-2,
    steps: 4,
    targets: ["q_proj", "k_proj", "down_proj"],
    ...asked,
  });

test.each<[string, Partial<AskedSettings>]>([
  ["factored, philox", { compute: "factored", generator: "philox-v1", dtype: "bf16" }],
  ["merged, redrawn", { compute: "merged", targets: "all-linear", projections: false, basisSeed: "-4" }],
])("%s: a run trains, and one that was interrupted ends at the same bytes", async (name, asked) => {
  const settings = await small(asked);
  const { recording, result } = await runs.train(`${name}-whole`, settings);
  expect(result.validLoss).toBeLessThan(recording.firstLoss - 0.02);
  await runs.trainInParts(`${name}-parts`, settings);
  expect(await runs.outcome(`${name}-parts`)).toEqual(await runs.outcome(`${name}-whole`));
});

test("a run begins with the base itself, trains λ_b and λ_d of each module, and saves what PEFT saves", async () => {
  const settings = await small({ dInitial: 0.3, steps: 1, dtype: "f16" });
  expect(settings.adapter).toMatchObject({ rank: 20, alpha: 20, dInitial: 0.3, generator: "torch-mt19937-f32" });
  const { method } = await estimateRun({ ...(await inputFor(settings)), gpu: runs.gpu });
  expect(method.trainableParameters).toBe(LAYERS * (3 * 20 + 64 + 32 + 64));
  const still = { ...settings, learningRate: 0 };
  const { recording } = await runs.train("still", still);
  const other = await runs.train("other", await runs.settings({ method: "lora", steps: 1, dtype: "f16" }));
  expect(recording.firstLoss).toBe(other.recording.firstLoss);
  await using adapter = await openAdapter(runs.folder.at("still"));
  const shapes = Object.fromEntries([...adapter.tensors].map(([name, { shape }]) => [name, shape]));
  expect(Object.keys(shapes)).toHaveLength(2 + 2 * 3 * LAYERS);
  expect(shapes).toMatchObject({
    "base_model.vera_A": [20, 172],
    "base_model.vera_B": [64, 20],
    "model.layers.0.self_attn.k_proj.vera_lambda_b": [32],
    "model.layers.0.self_attn.k_proj.vera_lambda_d": [20],
  });
  expect(adapter.bases).toMatchObject({ generator: "torch-mt19937-f32", max_in: 172, max_out: 64, dtype: "f16" });
  expect(adapter.config).toMatchObject({ peft_type: "VERA", r: 20, d_initial: 0.3, save_projection: true });
  const bytes = await adapter.tensors.get("model.layers.0.self_attn.k_proj.vera_lambda_d")?.readAll();
  expect(new Set(new Float32Array(bytes?.buffer ?? new ArrayBuffer()))).toEqual(new Set([Math.f16round(0.3)]));
});

test("an adapter whose factors PEFT cannot draw has them, whatever was asked for, and is merged", async () => {
  await runs.train("first", await small({ generator: "philox-v1", basisSeed: "7", projections: false }));
  // PEFT cannot draw them, whatever was asked for.
  await using saved = await openAdapter(runs.folder.at("first", "adapter"));
  expect(saved.tensors.has("base_model.vera_B")).toBe(true);
  const { merged, bases } = await runs.merge(runs.folder.at("first"), "merged");
  expect([merged, bases]).toEqual([3 * LAYERS, ["saved"]]);
});

test("the usual rank is at most the largest dimension; α is refused, and so are generators without factors", async () => {
  const facts = {
    modelType: "llama",
    contextLength: 512,
    shapes: await readShapes({ folder: STORIES, weights: undefined }),
  };
  const asked = { model: STORIES, data: runs.data, method: "vera" };
  expect(resolveSettings(asked, facts)).toMatchObject({ learningRate: 1e-2, adapter: { rank: 64, alpha: 64 } });
  expect(resolveSettings({ ...asked, targets: ["up_proj"] }, facts).adapter?.rank).toBe(172);
  expect(resolveSettings({ ...asked, rank: 300 }, facts).adapter?.rank).toBe(300);
  expect(resolveSettings(asked, { ...facts, shapes: undefined }).adapter?.rank).toBe(256);
  expect(() => resolveSettings({ ...asked, alpha: 3 }, facts)).toThrow("--alpha has no meaning with --method vera");
  expect(() => resolveSettings({ ...asked, sparsity: "sparse" }, facts)).toThrow("--sparse has no meaning");
  expect(() => resolveSettings({ ...asked, generator: "torch-mt19937-bf16-v2" }, facts)).toThrow(
    "does not draw VeRA's",
  );
  expect(() => resolveSettings({ ...asked, method: "lora", dInitial: 1 }, facts)).toThrow("--d-initial has no meaning");
  const usual = resolveSettings({ ...asked, method: "lora" }, facts);
  expect(usual).toMatchObject({ learningRate: 1e-4, adapter: { rank: 8 } });
});
