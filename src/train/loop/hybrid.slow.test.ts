// Runs of RandLoRA and LoRA on the same weights: what becomes of either part, resumed, begun with a LoRA, frozen.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { refusalOf } from "../../files/testing/folder.ts";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { hybrid } from "../../adapters/hybrid/method.ts";
import { openAdapter } from "../../adapters/formats/open.ts";
import type { TestTensor } from "../../adapters/testing/adapters.ts";
import { convert, everything } from "../../adapters/testing/convert.ts";
import { loraTensors, writeLora } from "../../adapters/testing/lora.ts";
import { initialSettings } from "../model/init-adapter.ts";
import { type AskedSettings, resolveSettings } from "../settings/resolve-settings.ts";
import type { TrainSettings } from "../settings/settings.ts";
import { Recording } from "../testing/runs.ts";
import { ShortRuns } from "../testing/short-runs.ts";
import { LAYERS } from "../testing/small-model.ts";

let runs: ShortRuns;
beforeAll(async () => {
  runs = await ShortRuns.open();
});
afterAll(() => runs[Symbol.asyncDispose]());

/** q lies beside k and v in one matrix. */
const TARGETS = ["q_proj", "v_proj", "down_proj"];
const SHAPES = Array.from({ length: LAYERS }, () => [
  { out: 64, in: 64 },
  { out: 32, in: 64 },
  { out: 64, in: 172 },
]).flat();

function settingsOf(asked: Partial<AskedSettings> = {}): Promise<TrainSettings> {
  return runs.settings({ method: "hybrid", targets: TARGETS, loraRank: 3, steps: 3, learningRate: 1e-2, ...asked });
}

/** Stops after a step, then goes on. */
async function trainInParts(name: string, settings: TrainSettings, between = async () => {}): Promise<void> {
  const stop = new AbortController();
  const stopping = new Recording();
  stopping.onStep = () => stop.abort();
  await runs.train(name, settings, stopping, stop.signal);
  await between();
  await runs.train(name, settings);
}

/** The bytes of an adapter's tensors, of those whose names match. */
async function tensorsOf(path: string, pattern: RegExp): Promise<Record<string, string>> {
  await using adapter = await openAdapter(path);
  const found: Record<string, string> = {};
  for (const [name, { dtype, readAll }] of adapter.tensors) {
    if (pattern.test(name)) found[name] = `${dtype} ${Buffer.from(await readAll()).toString("hex")}`;
  }
  return found;
}

const WAYS: [string, Partial<AskedSettings>][] = [
  ["factored products, dropout, the paper's pairing", { compute: "factored", dropout: 0.2, variant: "paper" }],
  [
    "merged products, half of the bases, none of them stored",
    { compute: "merged", variant: "half-rank", generator: "philox-v1", rslora: true },
  ],
];

test.each(WAYS)("both parts are trained, resumed and merged: %s", async (name, asked) => {
  const { compute = "auto", dropout = 0 } = asked;
  const settings = await settingsOf(asked);
  const { result, recording } = await runs.train(`${name}-whole`, settings);
  expect(result.trainableParameters).toBe(hybrid.training.capacity.count(SHAPES, 8, settings.adapter ?? {}));
  expect(result.validLoss ?? NaN).toBeLessThan(recording.firstLoss - 0.01);
  await trainInParts(`${name}-parts`, settings);
  expect(await runs.outcome(`${name}-parts`)).toEqual(await runs.outcome(`${name}-whole`));
  const path = runs.folder.at(`${name}-whole`, "adapter");
  expect(await readFile(join(path, "README.md"), "utf8")).toContain("PEFT, which has no such adapters, cannot load it");
  const zeros = Object.entries(await tensorsOf(path, /lambda|lora_B/)).filter(([, bytes]) => /^F32 0*$/.test(bytes));
  expect(zeros).toEqual([]);
  expect((await runs.merge(path, `${name}-merged`)).merged).toBe(3 * LAYERS);

  const [json, back] = [runs.folder.at(`${name}.json`), runs.folder.at(`${name}-back`)];
  await convert(path, { to: "json", out: json });
  await convert(json, { to: "peft", out: back });
  expect(await everything(back)).toEqual(await everything(path));

  const init = await initialSettings(back);
  expect(init).toMatchObject({ method: "hybrid", loraRank: 3, rank: 8, variant: asked.variant ?? "peft" });
  const on = await settingsOf({ ...init, compute, dropout, steps: 1, initAdapter: back });
  const { recording: then } = await runs.train(`${name}-on`, on);
  expect(then.metrics[0]).toEqual({ step: 0, valid_loss: result.validLoss ?? NaN });
});

test("what is dropped of the input of one part is not what is dropped of the other's", async () => {
  const path = await writeTrained("masked");
  /** The loss of the first step, to which RandLoRA, still at zero, adds nothing. */
  const lossOf = async (method: string, dropout: number) => {
    const init = await initialSettings(path, { method });
    const { recording } = await runs.train(
      `masked-${method}-${dropout}`,
      await runs.settings({
        ...init,
        ...(method === "hybrid" ? { rank: 8 } : {}),
        initAdapter: path,
        dropout,
        steps: 1,
      }),
    );
    return recording.losses[0] ?? NaN;
  };
  expect(await lossOf("hybrid", 0)).toBeCloseTo(await lossOf("lora", 0), 5);
  // RandLoRA's masks are those that a method has alone: the LoRA's are then others.
  expect(Math.abs((await lossOf("hybrid", 0.5)) - (await lossOf("lora", 0.5)))).toBeGreaterThan(1e-4);
});

test("a LoRA becomes one part: it goes on where it was, with RandLoRA at zero, and is needed until the first save", async () => {
  const asked = { method: "lora", targets: TARGETS, rank: 4, rslora: true, steps: 2, learningRate: 1e-2 } as const;
  const { result } = await runs.train("lora", await runs.settings({ ...asked, targets: TARGETS }));
  const path = runs.folder.at("lora");
  const init = await initialSettings(path, { method: "hybrid" });
  expect(init).toMatchObject({ method: "hybrid", loraRank: 4, rslora: true });
  expect(init).not.toHaveProperty("rank");
  expect(init).not.toHaveProperty("alpha");
  const settings = await runs.settings({ ...init, steps: 3, learningRate: 1e-2, initAdapter: path, rank: 8 });
  const { recording } = await runs.train("begun", settings);
  expect(recording.firstLoss).toBeCloseTo(result.validLoss ?? NaN, 5);
  await trainInParts("begun-parts", settings, () => rm(path, { recursive: true }));
  expect(await runs.outcome("begun-parts")).toEqual(await runs.outcome("begun"));
});

const q = "model.layers.0.self_attn.q_proj";
const down = "model.layers.1.mlp.down_proj";

/** A LoRA of two modules with ranks of their own, in bf16. */
async function writeTrained(name: string): Promise<string> {
  const modules = { [q]: [64, 64], [down]: [64, 172] } as const;
  const lora = { r: 2, alpha: 4, seed: 1, modules, ranks: { [down]: 5 } };
  const halves = Object.entries(loraTensors(lora)).map(([key, { shape, data }]): [string, TestTensor] => {
    return [key, { dtype: "BF16", shape, data: data.filter((_, at) => at % 4 > 1) }];
  });
  const config = { alpha_pattern: { q_proj: 1 }, revision: "kept", bias: "lora_only" };
  return await writeLora(runs.folder.at(name), lora, { config, tensors: Object.fromEntries(halves) });
}

test("a frozen LoRA has its part and keeps its bytes, whatever the optimizer does to the other", async () => {
  const path = await writeTrained("frozen");
  const init = await initialSettings(path, { method: "hybrid" });
  const asked = {
    ...init,
    initAdapter: path,
    freezeLora: true,
    learningRate: 1e-2,
    weightDecay: 0.5,
    rank: 8,
  } as const;
  const settings = await runs.settings({ ...asked, steps: 3, dropout: 0.1 });
  const before = await tensorsOf(path, /\.lora_[AB]/);
  expect(Object.values(before).every((bytes) => bytes.startsWith("BF16 "))).toBe(true);
  const { result, recording } = await runs.train("frozen-on", settings);
  // λ and γ alone: m = 64 makes 8 bases of rank 8, in two modules.
  expect(result.trainableParameters).toBe(2 * 8 * (8 + 64));
  const plain = await runs.settings({ ...(await initialSettings(path)), initAdapter: path, steps: 1 });
  expect(recording.firstLoss).toBeCloseTo((await runs.train("frozen-lora", plain)).recording.firstLoss, 5);
  const own = runs.folder.at("frozen-on", "adapter");
  expect(await tensorsOf(own, /\.lora_[AB]/)).toEqual(before);
  const moved = Object.values(await tensorsOf(own, /lambda/)).filter((bytes) => !/^F32 0*$/.test(bytes));
  expect(moved.length).toBe(2);
  {
    await using adapter = await openAdapter(own);
    expect(adapter.config).toMatchObject({
      rank_pattern: { [down]: 5 },
      alpha_pattern: { q_proj: 1 },
      revision: "kept",
    });
    expect(adapter.config).toMatchObject({ lora_r: 2, lora_alpha: 4, r: 8, randlora_alpha: 160, bias: "none" });
    expect(adapter.config).toMatchObject({ peft_type: "RANDLORA_HYBRID", lora_dropout: 0.1, randlora_dropout: 0.1 });
  }
  await trainInParts("frozen-parts", settings, () => rm(path, { recursive: true }));
  expect(await runs.outcome("frozen-parts")).toEqual(await runs.outcome("frozen-on"));

  // It may be trained after all, and stay frozen further on.
  const then = await initialSettings(own, { method: "hybrid" });
  for (const freezeLora of [false, true]) {
    const more = { freezeLora, dropout: 0.3, projections: false, steps: 1, learningRate: 1e-2 };
    const on = await runs.settings({ ...then, ...more, initAdapter: own });
    const { recording: later } = await runs.train(`frozen-${freezeLora}`, on);
    expect(later.firstLoss).toBeCloseTo(result.validLoss ?? NaN, 5);
    const after = await tensorsOf(runs.folder.at(`frozen-${freezeLora}`, "adapter"), /\.lora_[AB]/);
    // What changes is changed in both parts.
    await using adapter = await openAdapter(runs.folder.at(`frozen-${freezeLora}`));
    expect(adapter.config).toMatchObject({ lora_dropout: 0.3, randlora_dropout: 0.3, save_projection: false, r: 8 });
    expect(adapter.config).toMatchObject({ lora_r: 2, bias: "none", revision: "kept", randlora_variant: "peft" });
    if (freezeLora) expect(after).toEqual(before);
    else expect(Object.values(after).every((bytes) => bytes.startsWith("F32 "))).toBe(true);
  }
});

test("wishes that contradict each other or the LoRA are refused", async () => {
  const path = await writeTrained("refused");
  const init = await initialSettings(path, { method: "hybrid" });
  const facts = { modelType: "llama", contextLength: 512, init };
  const asked = { model: STORIES, data: runs.data, initAdapter: path, method: "hybrid" };
  expect(resolveSettings(asked, facts).adapter).toMatchObject({ rank: 32, alpha: 640, loraRank: 2, rslora: false });
  for (const [wish, message] of [
    [{ loraRank: 8 }, "--lora-rank 8: the adapter of --init-adapter has 2"],
    [{ rslora: true }, "--rslora: the adapter of --init-adapter has none"],
    [{ targets: ["k_proj"] }, "--targets k_proj: the adapter of --init-adapter has"],
    [{ sparsity: "sparse", generator: "torch-mt19937-f32" }, "does not draw sparse bases"],
    [{ dora: true }, "--dora has no meaning with --method hybrid"],
    [{ variant: "rank-r" }, "--variant rank-r has no meaning with --method hybrid"],
    [{ method: "randlora" }, "--method randlora: the adapter of --init-adapter has hybrid"],
  ] as const) {
    // A variant of another method's is no setting of this one.
    expect(() => resolveSettings({ ...asked, ...wish } as unknown as AskedSettings, facts)).toThrow(message);
  }
  for (const [wish, message] of [
    [{ freezeLora: true }, "--freeze-lora has no meaning with --method randlora"],
    [{ loraRank: 4 }, "--lora-rank has no meaning with --method randlora"],
  ] as const) {
    const plain = { model: STORIES, data: runs.data, method: "randlora", ...wish };
    expect(() => resolveSettings(plain, { ...facts, init: undefined })).toThrow(message);
  }
  const alone = await refusalOf(async () => runs.train("alone", await settingsOf({ freezeLora: true })));
  expect([alone.code, alone.message]).toEqual(["usage", expect.stringContaining("--freeze-lora: a new LoRA adds")]);
  // What is no LoRA is nothing to begin with; nor is a LoRA for RandLoRA.
  await runs.train("whole", await runs.settings({ steps: 1, targets: ["q_proj"] }));
  expect(await initialSettings(runs.folder.at("whole"), { method: "hybrid" })).toMatchObject({ method: "randlora" });
  expect(await initialSettings(path, { method: "randlora" })).toMatchObject({ method: "lora" });
});
