import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cp, mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../fixtures/stories/storyteller.ts";
import { openAdapter } from "../adapters/open.ts";
import { Gpu } from "../gpu/gpu.ts";
import { refuseShorter } from "./data.ts";
import { estimateRun } from "./finetune.ts";
import { initialSettings } from "./init-adapter.ts";
import type { AskedSettings } from "./resolve-settings.ts";
import type { TrainSettings } from "./settings.ts";
import { inputFor, outcomeOf, Recording, shortRun, trainInto, writeTexts } from "./testing/runs.ts";
import { TemporaryFolder } from "../files/testing/folder.ts";

/** One for all runs: kernels are compiled once. */
let gpu: Gpu;
let folder: TemporaryFolder;
let data: string;
let valid: string;
beforeAll(async () => {
  gpu = await Gpu.open();
  folder = await TemporaryFolder.create();
  data = await writeTexts(folder.at("train.jsonl"), 12);
  valid = await writeTexts(folder.at("valid.jsonl"), 3, 3);
});
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

function trainHere(name: string, settings: TrainSettings, recording?: Recording, signal?: AbortSignal) {
  return trainInto(folder.at(name), settings, recording, signal, gpu);
}

function small(asked: Partial<AskedSettings> = {}) {
  return shortRun({ data, valid, ...asked });
}

const METHODS: [string, Partial<AskedSettings>][] = [
  ["randlora", { dropout: 0.1 }],
  ["sparse randlora, merged", { sparsity: "sparse", compute: "merged" }],
  ["lora", { method: "lora", dropout: 0.1 }],
  ["full", { method: "full", learningRate: 1e-3 }],
];

describe.each(METHODS)("%s", (name, asked) => {
  test("learns, keeps the best and the last, and comes to the same bits when it is interrupted", async () => {
    const settings = await small(asked);
    const before = gpu.memory.liveBytes;
    const { result, recording } = await trainHere(`${name}-whole`, settings);
    expect(gpu.memory.liveBytes).toBe(before);
    expect(recording.warnings).toEqual([]);
    expect(result).toMatchObject({ ending: "finished", steps: 6, trainableParameters: expect.any(Number) });
    expect(recording.metrics.map(({ step }) => step)).toEqual([0, 1, 2, 3, 3, 4, 5, 6, 6]);
    const [first = NaN] = recording.metrics.flatMap((line) => ("valid_loss" in line ? [line.valid_loss] : []));
    expect(result.validLoss).toBeLessThan(first - 0.1);
    expect(result.bestStep).toBe(6);

    // Stopped after its third and after its fifth step, not at a save.
    const parts = `${name}-parts`;
    for (const stop of [3, 5]) {
      const controller = new AbortController();
      const stopping = new Recording();
      stopping.onStep = (step) => {
        if (step === stop - 1) controller.abort(); // told while the next step is computed
      };
      const { result: part } = await trainHere(parts, settings, stopping, controller.signal);
      expect(part).toMatchObject({ ending: "interrupted", steps: stop });
    }
    const { recording: rest } = await trainHere(parts, settings);
    expect(rest.losses.length).toBe(1);
    expect(await outcomeOf(folder.at(parts))).toEqual(await outcomeOf(folder.at(`${name}-whole`)));

    // Nothing is left to do.
    const { result: again, recording: nothing } = await trainHere(parts, settings);
    expect(again).toMatchObject({ ending: "finished", steps: 6, stepsBefore: 6, bestStep: 6, tokens: result.tokens });
    expect(nothing.metrics).toEqual([]);
  }, 60_000);
});

test("recomputing activations changes the memory, not the losses", async () => {
  const settings = await small({ steps: 2, batchSize: 6 });
  // GPUs of their own: each counts from the beginning what was in use at most.
  const { result: kept, recording } = await trainInto(folder.at("kept"), settings);
  const spared = await trainInto(folder.at("spared"), { ...settings, checkpointActivations: true });
  expect(spared.recording.started?.checkpointing).toBe(true);
  expect(spared.recording.losses).toEqual(recording.losses);
  expect(spared.result.peakGpuBytes).toBeLessThan(kept.peakGpuBytes * 0.8);
  for (const { estimatedGpuBytes, peakGpuBytes } of [kept, spared.result]) {
    expect(Math.abs(estimatedGpuBytes / peakGpuBytes - 1)).toBeLessThan(0.15);
  }
  const estimate = await estimateRun(await inputFor({ ...settings, checkpointActivations: true }));
  expect(estimate.estimatedGpuBytes).toBe(spared.result.estimatedGpuBytes);
  expect(estimate).toMatchObject({ steps: 2, epochs: 2, checkpointing: true });
});

test("another order of the products, another pairing, one micro-batch instead of two: what must agree does", async () => {
  const losses = async (name: string, asked: Partial<AskedSettings>) => {
    const { recording } = await trainHere(name, await small({ steps: 3, shuffle: false, ...asked }));
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
  const settings = await small({ method: "full", steps: 2, evalEvery: 1, learningRate: 0 });
  const { result, recording } = await trainHere("whole", settings);
  expect(result).toMatchObject({ steps: 2, bestStep: 0 });
  expect(recording.saves).toEqual([2]);
  expect(await readdir(folder.at("whole"))).not.toContain("best");
});

test("a whole model is saved again, subfolders too, and resumed; runs in the model's folder are no part of it", async () => {
  const model = folder.at("with-subfolder");
  await cp(STORIES, model, { recursive: true });
  await mkdir(join(model, "original"));
  await writeFile(join(model, "original", "params.json"), "{}");
  const settings = await small({ model, method: "full", steps: 2, saveEvery: 1 });
  const wanted = [...(await readdir(STORIES)).filter((name) => !name.startsWith(".")), "original"].toSorted();
  for (const name of ["run", "runs/1"]) {
    const out = join("with-subfolder", name);
    expect((await trainHere(out, settings)).recording.saves).toEqual([1, 2]);
    expect((await trainHere(out, { ...settings, schedule: "constant" })).result.stepsBefore).toBe(2);
    expect((await readdir(folder.at(out))).toSorted()).toEqual(["best", "metrics.jsonl", "model", "run.json", "state"]);
    for (const made of ["best", "model"]) {
      const files = await readdir(join(folder.at(out), made), { recursive: true });
      expect(files.toSorted()).toEqual([...wanted, join("original", "params.json")].toSorted());
    }
  }
}, 60_000);

test("training ends when nothing improves", async () => {
  const settings = await small({ steps: 30, evalEvery: 1, earlyStop: 2, learningRate: 0 });
  const { result, recording } = await trainHere("stuck", settings);
  expect(result).toMatchObject({ ending: "early-stop", steps: 2, bestStep: 0 });
  expect(recording.saves).toEqual([0, 2]);
  const { result: again } = await trainHere("stuck", settings);
  expect(again).toMatchObject({ ending: "early-stop", steps: 2 });
});

test("a run that is stopped in its last evaluation makes up for it", async () => {
  const settings = await small({ steps: 2, evalEvery: 2 });
  const stop = new AbortController();
  const recording = new Recording();
  recording.onStep = (step) => void (step === 2 && stop.abort());
  const { result } = await trainHere("cut-off", settings, recording, stop.signal);
  expect(result).toMatchObject({ ending: "interrupted", steps: 2, bestStep: 0 });
  const { result: again } = await trainHere("cut-off", settings);
  expect(again).toMatchObject({ ending: "finished", steps: 2, bestStep: 2 });
  const state: unknown = JSON.parse(
    await readFile(join(folder.at("cut-off"), "state", "step-2", "state.json"), "utf8"),
  );
  expect(state).toMatchObject({ evaluated: 2, best: { step: 2 } });
});

test("a state is taken back whose evaluation, made up for, is no number", async () => {
  const settings = await small({ steps: 2, evalEvery: 2, saveEvery: 1 });
  const stop = new AbortController();
  const recording = new Recording();
  recording.onStep = (step) => void (step === 2 && stop.abort());
  await trainHere("cut-off-bad", settings, recording, stop.signal);
  const parameters = folder.at("cut-off-bad", "state", "step-2", "parameters.safetensors");
  const bytes = await readFile(parameters);
  bytes.fill(0xff, bytes.length - 64);
  await writeFile(parameters, bytes);
  await expect(trainHere("cut-off-bad", settings)).rejects.toMatchObject({
    code: "numeric",
    message: "step 2: the validation loss is NaN",
    hint: expect.stringContaining("saved at step 1 is kept"),
  });
  expect(await readdir(folder.at("cut-off-bad", "state"))).toEqual(["step-1"]);
});

test("a run of epochs is resumed for more steps than it had, not for fewer", async () => {
  const settings = await small({ schedule: "constant" });
  const epochs = { ...settings, steps: null, epochs: 2 };
  const { data: loaded } = await inputFor(epochs);
  expect(() => refuseShorter(epochs, { ...epochs, steps: 6 }, loaded)).toThrow("it had 6");
  refuseShorter(epochs, { ...epochs, steps: 7 }, loaded);
  refuseShorter(epochs, epochs, loaded);
});

test("a loss that is no number stops the run, names the step and keeps the last adapter whose loss is one", async () => {
  const settings = await small({ steps: 9, saveEvery: 1, learningRate: 1e30, gradClip: 0 });
  const run = folder.at("diverged");
  const thrown = await trainHere("diverged", settings).catch((error: unknown) => error);
  expect(thrown).toMatchObject({ code: "numeric", message: expect.stringMatching(/^step \d+: /) });
  const [state = "", ...others] = await readdir(join(run, "state"));
  expect(others).toEqual([]);
  expect(thrown).toMatchObject({
    hint: expect.stringContaining(`saved at step ${state.replace("step-", "")} is kept`),
  });
  const on = await small({ steps: 1, learningRate: 0, ...(await initialSettings(run, undefined)), initAdapter: run });
  const { recording } = await trainHere("diverged-on", on);
  expect(recording.losses.every(Number.isFinite)).toBe(true);
});

test("a run whose very last update diverges fails where nothing else would show it", async () => {
  const asked = await small({ steps: 2, saveEvery: 1, schedule: "constant", gradClip: 0 });
  const settings = { ...asked, valid: null };
  await trainHere("last", settings);
  await expect(trainHere("last", { ...settings, steps: 3, learningRate: 1e30 })).rejects.toMatchObject({
    code: "numeric",
    message: expect.stringMatching(/^step 3: after the last update the loss is (NaN|Infinity)$/),
    hint: expect.stringContaining("saved at step 2 is kept"),
  });
  expect(await readdir(folder.at("last", "state"))).toEqual(["step-2"]);
  await using adapter = await openAdapter(folder.at("last"));
  for (const tensor of adapter.tensors.values()) {
    const numbers = new Float32Array((await tensor.readAll()).slice().buffer);
    expect(numbers.every((value) => Math.abs(value) < 1e6)).toBe(true);
  }
});

test("a model whose weights have become too large for the dtype that it is written in is not written", async () => {
  const settings = await small({ method: "full", dtype: "f16", steps: 1, learningRate: 1e6 });
  await expect(trainHere("too-large", { ...settings, valid: null })).rejects.toMatchObject({
    code: "numeric",
    message: expect.stringMatching(/^"model\..*weight": \d+ of its weights are too large for F16$/),
  });
  expect(await readdir(folder.at("too-large"))).not.toContain("model");
});

test("a state that makes the next loss no number is taken back", async () => {
  const settings = await small({ steps: 9, saveEvery: 2, learningRate: 1e-3, schedule: "constant", evalEvery: 99 });
  const stop = new AbortController();
  const recording = new Recording();
  recording.onStep = (step) => void (step === 4 && stop.abort());
  await trainHere("poisoned", settings, recording, stop.signal);
  const run = folder.at("poisoned");
  const states = (await readdir(join(run, "state"))).toSorted();
  expect(states).toEqual(["step-4", "step-5"]);
  // As if the last update had made numbers that are none.
  const parameters = join(run, "state", "step-5", "parameters.safetensors");
  const bytes = await readFile(parameters);
  bytes.fill(0xff, bytes.length - 64);
  await writeFile(parameters, bytes);
  await expect(trainHere("poisoned", settings)).rejects.toMatchObject({
    code: "numeric",
    message: expect.stringMatching(/^step 6: the loss is NaN/),
    hint: expect.stringContaining("saved at step 4 is kept"),
  });
  expect(await readdir(join(run, "state"))).toEqual(["step-4"]);
  await using adapter = await openAdapter(run);
  for (const tensor of adapter.tensors.values()) {
    const numbers = new Float32Array((await tensor.readAll()).slice().buffer);
    expect(numbers.every(Number.isFinite)).toBe(true);
  }
  const { result } = await trainHere("poisoned", settings);
  expect(result).toMatchObject({ ending: "finished", steps: 9 });
});

test("a best step that is taken back was never the best: best/, the state and metrics.jsonl are what they were", async () => {
  const settings = await small({ steps: 9, saveEvery: 2, learningRate: 1e-3, schedule: "constant", evalEvery: 5 });
  const kept = { ...settings, keep: 2 };
  const stopAt = async (name: string, last: number) => {
    const stop = new AbortController();
    const recording = new Recording();
    recording.evaluation = ({ step }) => void (step === last && stop.abort());
    recording.onStep = (step) => void (last === 4 && step === 3 && stop.abort()); // while the fourth is computed
    const { result } = await trainHere(name, kept, recording, stop.signal);
    expect(result).toMatchObject({ steps: last, bestStep: last === 5 ? 5 : 0 });
    return { ...(await outcomeOf(folder.at(name))) };
  };
  const bestOf = (files: Record<string, string>) => Object.entries(files).filter(([name]) => name.startsWith("best"));
  const four = await stopAt("best-four", 4);
  const five = await stopAt("best-taken-back", 5);
  expect(bestOf(five)).not.toEqual(bestOf(four));
  const run = folder.at("best-taken-back");
  const parameters = join(run, "state", "step-5", "parameters.safetensors");
  const bytes = await readFile(parameters);
  bytes.fill(0xff, bytes.length - 64);
  await writeFile(parameters, bytes);
  await expect(trainHere("best-taken-back", kept)).rejects.toMatchObject({
    code: "numeric",
    hint: expect.stringContaining("saved at step 4 is kept"),
  });
  const after = await outcomeOf(run);
  expect(bestOf(after).length).toBeGreaterThan(1);
  expect(bestOf(after)).toEqual(bestOf(four));
  const progress: unknown = JSON.parse(await readFile(join(run, "state", "step-4", "state.json"), "utf8"));
  expect(progress).toMatchObject({ step: 4, evaluated: 0, best: { step: 0 } });
  expect(after["metrics.jsonl"]).toBe(four["metrics.jsonl"]);
  // What nothing was wrong with is done again, to the same bits.
  expect((await trainHere("best-taken-back", kept)).result).toMatchObject({ ending: "finished", bestStep: 9 });
  await trainHere("best-whole", kept);
  expect(await outcomeOf(run)).toEqual(await outcomeOf(folder.at("best-whole")));
}, 60_000);

test("an adapter that diverges before its first save is what it began with", async () => {
  const settings = await small({ steps: 9, learningRate: 1e38, gradClip: 0 });
  await expect(trainHere("diverged-early", settings)).rejects.toMatchObject({ code: "numeric" });
  const run = folder.at("diverged-early");
  expect(await readdir(join(run, "state"))).toEqual(["step-0"]);
  await using adapter = await openAdapter(run);
  for (const [name, tensor] of adapter.tensors) {
    if (!name.endsWith("randlora_lambda")) continue;
    expect((await tensor.readAll()).every((byte) => byte === 0)).toBe(true);
  }
});

test("the base of a resumed run must be what it was, whatever its folder is called", async () => {
  await cp(STORIES, folder.at("model"), { recursive: true });
  const settings = await small({ model: folder.at("model"), steps: 1, schedule: "constant" });
  await trainHere("other-base", settings);
  await rename(folder.at("model"), folder.at("moved-model"));
  const moved = { ...settings, model: folder.at("moved-model"), steps: 2 };
  expect((await trainHere("other-base", moved)).result.steps).toBe(2);
  const weights = folder.at("moved-model", "model.safetensors");
  const bytes = await readFile(weights);
  bytes.fill(0, bytes.length - 8);
  await writeFile(weights, bytes);
  await expect(trainHere("other-base", { ...moved, steps: 3 })).rejects.toMatchObject({
    code: "model",
    message: `${moved.model}: its weights are not those that the run began with`,
  });
});

test("the data of a resumed run must be what they were", async () => {
  const path = folder.at("changing.jsonl");
  await writeTexts(path, 8);
  const settings = await small({ data: path, steps: 1 });
  await trainHere("changing", settings);
  await writeFile(path, `${await readFile(path, "utf8")}{"text": "more"}\n`);
  await expect(trainHere("changing", settings)).rejects.toThrow("not the data that the run began with");
});

test("orders of products that do not fit the model are refused, by the name of the state that has them", async () => {
  const settings = await small({ steps: 1, schedule: "constant" });
  await trainHere("orders", { ...settings, valid: null });
  const file = folder.at("orders", "state", "step-1", "state.json");
  const state = JSON.parse(await readFile(file, "utf8"));
  const { orders } = state.kernels.choices;
  for (const [wrong, message] of [
    [orders.slice(1), `${orders.length - 1} orders of products, and the model has ${orders.length} adapted matrices`],
    [["factored+fast", ...orders.slice(1)], '"factored+fast" is no order of products'],
  ]) {
    state.kernels.choices.orders = wrong;
    await writeFile(file, JSON.stringify(state));
    await expect(trainHere("orders", { ...settings, valid: null, steps: 2 })).rejects.toMatchObject({
      code: "format",
      message: `${file}: "kernels.choices.orders": ${message}`,
    });
  }
});
