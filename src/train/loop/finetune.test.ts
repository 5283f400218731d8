import { afterAll, beforeAll, describe, expect, spyOn, test } from "bun:test";
import { cp, mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { locateModel } from "../../models/folder/locate.ts";
import { writeArchitecture } from "../../models/testing/architectures.ts";
import { estimateRun } from "./finetune.ts";
import type { AskedSettings } from "../settings/resolve-settings.ts";
import { refuseShorter } from "../model/subject.ts";
import { inputFor, Recording, trainInto, writeTexts } from "../testing/runs.ts";
import { ShortRuns } from "../testing/short-runs.ts";

let runs: ShortRuns;
beforeAll(async () => {
  runs = await ShortRuns.open();
});
afterAll(() => runs[Symbol.asyncDispose]());

/** What every adapter method's walk has is not here (methods.test.ts). */
const METHODS: [string, Partial<AskedSettings>][] = [
  ["sparse randlora, merged", { sparsity: "sparse", compute: "merged" }],
  ["full", { method: "full", learningRate: 1e-3 }],
];

describe.each(METHODS)("%s", (name, asked) => {
  test("trains, keeps the best and the last, and comes to the same bits when it is interrupted", async () => {
    const settings = await runs.settings(asked);
    const before = runs.gpu.memory.liveBytes;
    const { result, recording } = await runs.train(`${name}-whole`, settings);
    expect(runs.gpu.memory.liveBytes).toBe(before);
    expect(recording.warnings).toEqual([]);
    expect(result).toMatchObject({ ending: "finished", steps: 6, trainableParameters: expect.any(Number) });
    expect(recording.metrics.map(({ step }) => step)).toEqual([0, 1, 2, 3, 3, 4, 5, 6, 6]);
    expect(result.validLoss).toBeLessThan(recording.firstLoss - 0.1);
    expect(result.bestStep).toBe(6);

    // Stopped after its third and after its fifth step, not at a save.
    const parts = `${name}-parts`;
    for (const stop of [3, 5]) {
      const controller = new AbortController();
      const stopping = new Recording();
      stopping.onStep = (step) => {
        if (step === stop - 1) controller.abort(); // told while the next step is computed
      };
      const { result: part } = await runs.train(parts, settings, stopping, controller.signal);
      expect(part).toMatchObject({ ending: "interrupted", steps: stop });
    }
    const { recording: rest } = await runs.train(parts, settings);
    expect(rest.losses.length).toBe(1);
    expect(await runs.outcome(parts)).toEqual(await runs.outcome(`${name}-whole`));

    // Nothing is left to do.
    const { result: again, recording: nothing } = await runs.train(parts, settings);
    expect(again).toMatchObject({ ending: "finished", steps: 6, stepsBefore: 6, bestStep: 6, tokens: result.tokens });
    expect(nothing.metrics).toEqual([]);
  }, 60_000);
});

test("states are saved by time where no number of steps is given, and change no byte of the adapter", async () => {
  const settings = await runs.plain({ rank: 8, steps: 3, evalEvery: 3 });
  expect(settings.saveEvery).toBeNull();
  const { recording: quick } = await runs.train("saved-at-the-end", settings);
  expect(quick.saves).not.toContain(1);
  const pauses = ["validating 0/2", "validating 1/2", "saving 0/1"];
  expect([quick.pauses, quick.started?.validateEvery]).toEqual([[...pauses, ...pauses], 3]);
  let now = performance.now();
  using _ = spyOn(performance, "now").mockImplementation(() => now);
  const slow = new Recording();
  slow.onStep = () => void (now += 60_000);
  await runs.train("saved-by-time", settings, slow);
  // A step is read while the next one is computed.
  expect(slow.saves).toEqual([0, 2, 3]);
  const adapter = async (run: string) =>
    Object.entries(await runs.outcome(run)).filter(([name]) => name.startsWith("adapter"));
  expect(await adapter("saved-by-time")).toEqual(await adapter("saved-at-the-end"));
});

test("recomputing activations changes the memory, not the losses", async () => {
  const settings = await runs.settings({ model: STORIES, steps: 2, batchSize: 6 });
  // GPUs of their own: each counts from the beginning what was in use at most.
  const { result: kept, recording } = await trainInto(runs.folder.at("kept"), settings);
  const spared = await trainInto(runs.folder.at("spared"), { ...settings, checkpointActivations: true });
  expect(spared.recording.started?.checkpointing).toBe(true);
  expect(spared.recording.losses).toEqual(recording.losses);
  expect(spared.result.peakGpuBytes).toBeLessThan(kept.peakGpuBytes * 0.8);
  for (const { estimatedGpuBytes, peakGpuBytes } of [kept, spared.result]) {
    expect(Math.abs(estimatedGpuBytes / peakGpuBytes - 1)).toBeLessThan(0.15);
  }
  const estimate = await estimateRun(await inputFor({ ...settings, checkpointActivations: true }));
  expect(estimate.estimatedGpuBytes).toBe(spared.result.estimatedGpuBytes);
  expect(estimate).toMatchObject({ steps: 2, epochs: 2, checkpointing: true });
  // The state that stays, and as much for the next one; two folders of adapters.
  const saved = await readdir(runs.folder.at("spared/state"), { recursive: true, withFileTypes: true });
  const numbers = saved.filter(({ name }) => /^(parameters|optimizer)\.safetensors$/.test(name));
  const sizes = await Promise.all(numbers.map(({ parentPath, name }) => Bun.file(join(parentPath, name)).size));
  const state = sizes.reduce((sum, size) => sum + size, 0);
  expect(estimate.estimatedDiskBytes / state).toBeGreaterThan(2);
  expect(estimate.estimatedDiskBytes / state).toBeLessThan(3);
});

test("another order of the products, another pairing, one micro-batch instead of two: what must agree does", async () => {
  const losses = async (name: string, asked: Partial<AskedSettings>) => {
    const { recording } = await runs.train(name, await runs.settings({ steps: 3, shuffle: false, ...asked }));
    return recording.losses;
  };
  const plain = await losses("plain", { batchSize: 4, gradAccum: 1 });
  for (const [name, asked] of [
    ["two", { batchSize: 2, gradAccum: 2 }],
    ["factored", { batchSize: 4, gradAccum: 1, compute: "factored" }],
    ["merged", { batchSize: 4, gradAccum: 1, compute: "merged" }],
  ] as const) {
    const other = await losses(name, asked);
    for (const [step, loss] of other.entries()) expect(Math.abs(loss / (plain[step] ?? NaN) - 1)).toBeLessThan(1e-4);
  }
});

test("a whole model is not saved before anything was trained, be its first evaluation the best or not", async () => {
  const settings = await runs.settings({ method: "full", steps: 2, evalEvery: 1, learningRate: 0 });
  const { result, recording } = await runs.train("whole", settings);
  expect(result).toMatchObject({ steps: 2, bestStep: 0 });
  expect(recording.saves).toEqual([2]);
  const run = runs.folder.at("whole");
  // What it began with is its best model.
  expect((await locateModel(run)).folder).toBe(join(run, "best"));
  const weights = (name: string) => Bun.file(join(run, name, "model.safetensors")).bytes();
  expect(await weights("best")).toEqual(await weights("model"));
});

test("a whole model is saved again, subfolders too, and resumed; runs in the model's folder are no part of it", async () => {
  const model = runs.folder.at("with-subfolder");
  await cp(runs.model, model, { recursive: true });
  await mkdir(join(model, "original"));
  await writeFile(join(model, "original", "params.json"), "{}");
  const settings = await runs.settings({ model, method: "full", steps: 2, saveEvery: 1 });
  const wanted = [...(await readdir(runs.model)).filter((name) => !name.startsWith(".")), "original"].toSorted();
  for (const name of ["run", "runs/1"]) {
    const out = join("with-subfolder", name);
    expect((await runs.train(out, settings)).recording.saves).toEqual([1, 2]);
    expect((await runs.train(out, { ...settings, schedule: "constant" })).result.stepsBefore).toBe(2);
    expect((await readdir(runs.folder.at(out))).toSorted()).toEqual([
      "best",
      "metrics.csv",
      "metrics.jsonl",
      "model",
      "run.json",
      "state",
    ]);
    for (const made of ["best", "model"]) {
      const files = await readdir(join(runs.folder.at(out), made), { recursive: true });
      expect(files.toSorted()).toEqual([...wanted, join("original", "params.json")].toSorted());
    }
  }
}, 60_000);

test.each([
  ["whose weights are stored transposed", "gpt2", {}],
  ["of experts whose weights are stored transposed", "gpt_oss", {}],
  [
    "with numbers and a table that no method trains, and experts beside MLPs",
    "gemma4",
    { enable_moe_block: true, num_experts: 8, top_k_experts: 2 },
  ],
])("a whole model %s is written as it was read", async (_, type, own) => {
  const model = runs.folder.at(type);
  await writeArchitecture(model, type, 1, { vocab_size: 512, n_positions: 64, ...own });
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) await cp(join(STORIES, name), join(model, name));
  const asked = { model, method: "full", steps: 1, learningRate: 0 } as const;
  await runs.train(`${type}-as-read`, await runs.settings(asked));
  await using before = await Checkpoint.open(model);
  await using after = await Checkpoint.open(join(runs.folder.at(`${type}-as-read`), "model"));
  expect([...after.tensors.keys()].toSorted()).toEqual([...before.tensors.keys()].toSorted());
  for (const [name, { info }] of before.tensors) {
    expect([name, after.get(name).info.shape]).toEqual([name, info.shape]);
    const [wanted, found] = [new Uint8Array(info.bytes), new Uint8Array(info.bytes)];
    await before.read(name, wanted);
    await after.read(name, found);
    expect([name, Buffer.compare(found, wanted)]).toEqual([name, 0]);
  }
  if (type !== "gpt2") return;
  await expect(runs.train("too-long", await runs.settings({ ...asked, maxLength: 65 }))).rejects.toThrow(
    "--max-length 65: this model has position embeddings for 64 tokens",
  );
});

test("training ends when nothing improves", async () => {
  const settings = await runs.settings({ steps: 30, evalEvery: 1, earlyStop: 2, learningRate: 0 });
  const { result, recording } = await runs.train("stuck", settings);
  expect(result).toMatchObject({ ending: "early-stop", steps: 2, bestStep: 0 });
  expect(recording.saves).toEqual([0, 2]);
  const { result: again } = await runs.train("stuck", settings);
  expect(again).toMatchObject({ ending: "early-stop", steps: 2 });
});

test("a run that is stopped in its last evaluation makes up for it", async () => {
  const settings = await runs.settings({ steps: 2, evalEvery: 2 });
  const stop = new AbortController();
  const recording = new Recording();
  recording.onStep = (step) => void (step === 2 && stop.abort());
  const { result } = await runs.train("cut-off", settings, recording, stop.signal);
  expect(result).toMatchObject({ ending: "interrupted", steps: 2, bestStep: 0 });
  const { result: again } = await runs.train("cut-off", settings);
  expect(again).toMatchObject({ ending: "finished", steps: 2, bestStep: 2 });
  const state: unknown = JSON.parse(
    await readFile(join(runs.folder.at("cut-off"), "state", "step-2", "state.json"), "utf8"),
  );
  expect(state).toMatchObject({ evaluated: 2, best: { step: 2 } });
});

test("a run of epochs is resumed for more steps than it had, not for fewer", async () => {
  const settings = await runs.settings({ schedule: "constant" });
  const epochs = { ...settings, steps: null, epochs: 2 };
  const { subject } = await inputFor(epochs);
  expect(() => refuseShorter(epochs, { ...epochs, steps: 6 }, subject)).toThrow("it had 6");
  refuseShorter(epochs, { ...epochs, steps: 7 }, subject);
  refuseShorter(epochs, epochs, subject);
});

test("the base of a resumed run must be what it was, whatever its folder is called", async () => {
  await cp(runs.model, runs.folder.at("model"), { recursive: true });
  const settings = await runs.settings({ model: runs.folder.at("model"), steps: 1, schedule: "constant" });
  await runs.train("other-base", settings);
  await rename(runs.folder.at("model"), runs.folder.at("moved-model"));
  const moved = { ...settings, model: runs.folder.at("moved-model"), steps: 2 };
  expect((await runs.train("other-base", moved)).result.steps).toBe(2);
  const weights = runs.folder.at("moved-model", "model.safetensors");
  const bytes = await readFile(weights);
  bytes.fill(0, bytes.length - 8);
  await writeFile(weights, bytes);
  await expect(runs.train("other-base", { ...moved, steps: 3 })).rejects.toMatchObject({
    code: "model",
    message: `${moved.model}: its weights are not those that the run began with`,
  });
});

test("a config.json of the base that says something else is noticed when a run is resumed", async () => {
  const model = runs.folder.at("configured");
  await cp(runs.model, model, { recursive: true });
  const settings = await runs.settings({ model, steps: 1, schedule: "constant" });
  await runs.train("configured-run", settings);
  const path = join(model, "config.json");
  const config = JSON.parse(await readFile(path, "utf8"));
  const write = (value: object) => writeFile(path, JSON.stringify(value));
  const refused = { code: "model", message: `${model}: its config.json is not the one that the run began with` };
  for (const edited of [{ rope_theta: 12345 }, { rms_norm_eps: 1e-3 }, { sliding_window: 8 }]) {
    await write({ ...config, ...edited });
    await expect(runs.train("configured-run", { ...settings, steps: 2 })).rejects.toMatchObject(refused);
  }
  // Another order, and another writer.
  const turned = Object.fromEntries(Object.entries(config).toReversed());
  await write({ ...turned, transformers_version: "9.9", _name_or_path: "elsewhere" });
  expect((await runs.train("configured-run", { ...settings, steps: 2 })).result.steps).toBe(2);
});

test("the data of a resumed run must be what they were", async () => {
  const path = runs.folder.at("changing.jsonl");
  await writeTexts(path, 8);
  const settings = await runs.settings({ data: path, steps: 1 });
  await runs.train("changing", settings);
  await writeFile(path, `${await readFile(path, "utf8")}{"text": "more"}\n`);
  await expect(runs.train("changing", settings)).rejects.toThrow("not the data that the run began with");
});

test("orders of products that do not fit the model are refused, by the name of the state that has them", async () => {
  const settings = await runs.settings({ steps: 1, schedule: "constant" });
  await runs.train("orders", { ...settings, valid: null });
  const file = runs.folder.at("orders", "state", "step-1", "state.json");
  const state = JSON.parse(await readFile(file, "utf8"));
  const { orders } = state.kernels.choices;
  for (const [wrong, message] of [
    [orders.slice(1), `${orders.length - 1} orders of products, and the model has ${orders.length} adapted matrices`],
    [["factored+fast", ...orders.slice(1)], '"factored+fast" is no order of products'],
  ]) {
    state.kernels.choices.orders = wrong;
    await writeFile(file, JSON.stringify(state));
    await expect(runs.train("orders", { ...settings, valid: null, steps: 2 })).rejects.toMatchObject({
      code: "format",
      message: `${file}: "kernels.choices.orders": ${message}`,
    });
  }
});
