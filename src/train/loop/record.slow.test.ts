// What a run leaves when its loss, its gradients or its weights become no numbers: the last good state.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openAdapter } from "../../adapters/formats/open.ts";
import { parseMetrics } from "../run/metrics.ts";
import { finetune } from "./finetune.ts";
import { initialSettings } from "../model/init-adapter.ts";
import { RunFolder } from "../run/run-folder.ts";
import { inputFor, outcomeOf, Recording } from "../testing/runs.ts";
import { ShortRuns } from "../testing/short-runs.ts";

let runs: ShortRuns;
beforeAll(async () => {
  runs = await ShortRuns.open();
});
afterAll(() => runs[Symbol.asyncDispose]());

/** Ends the parameters of a saved state with numbers that are none, as an update that diverged would have. */
async function poison(state: string): Promise<void> {
  const parameters = join(state, "parameters.safetensors");
  const bytes = await readFile(parameters);
  bytes.fill(0xff, bytes.length - 64);
  await writeFile(parameters, bytes);
}

test("a state is taken back whose evaluation, made up for, is no number", async () => {
  const settings = await runs.settings({ steps: 2, evalEvery: 2, saveEvery: 1 });
  const stop = new AbortController();
  const recording = new Recording();
  recording.onStep = (step) => void (step === 2 && stop.abort());
  await runs.train("cut-off-bad", settings, recording, stop.signal);
  await poison(runs.folder.at("cut-off-bad", "state", "step-2"));
  await expect(runs.train("cut-off-bad", settings)).rejects.toMatchObject({
    code: "numeric",
    message: "step 2: the validation loss is NaN",
    hint: expect.stringContaining("saved at step 1 is kept"),
  });
  expect(await readdir(runs.folder.at("cut-off-bad", "state"))).toEqual(["step-1"]);
});

test("a loss that is no number stops the run, names the step and keeps the last adapter whose loss is one", async () => {
  const settings = await runs.settings({ steps: 9, saveEvery: 1, learningRate: 1e38, gradClip: 0 });
  const run = runs.folder.at("diverged");
  const thrown = await runs.train("diverged", settings).catch((error: unknown) => error);
  expect(thrown).toMatchObject({ code: "numeric", message: expect.stringMatching(/^step \d+: /) });
  const [state = "", ...others] = await readdir(join(run, "state"));
  expect(others).toEqual([]);
  expect(thrown).toMatchObject({
    hint: expect.stringContaining(`saved at step ${state.replace("step-", "")} is kept`),
  });
  const on = await runs.settings({
    steps: 1,
    learningRate: 0,
    ...(await initialSettings(run, undefined)),
    initAdapter: run,
  });
  const { recording } = await runs.train("diverged-on", on);
  expect(recording.losses.every(Number.isFinite)).toBe(true);
});

test("a run whose very last update diverges fails where nothing else would show it", async () => {
  const asked = await runs.settings({ steps: 2, saveEvery: 1, schedule: "constant", gradClip: 0 });
  const settings = { ...asked, valid: null };
  await runs.train("last", settings);
  await expect(runs.train("last", { ...settings, steps: 3, learningRate: 1e30 })).rejects.toMatchObject({
    code: "numeric",
    message: expect.stringMatching(/^step 3: after the last update the loss is (NaN|Infinity)$/),
    hint: expect.stringContaining("saved at step 2 is kept"),
  });
  expect(await readdir(runs.folder.at("last", "state"))).toEqual(["step-2"]);
  await using adapter = await openAdapter(runs.folder.at("last"));
  for (const tensor of adapter.tensors.values()) {
    const numbers = new Float32Array((await tensor.readAll()).slice().buffer);
    expect(numbers.every((value) => Math.abs(value) < 1e6)).toBe(true);
  }
});

test("a model whose weights have become too large for the dtype that it is written in is not written", async () => {
  const settings = await runs.settings({ method: "full", dtype: "f16", steps: 1, learningRate: 1e6 });
  await expect(runs.train("too-large", { ...settings, valid: null })).rejects.toMatchObject({
    code: "numeric",
    message: expect.stringMatching(/^"model\..*weight": \d+ of its weights are too large for F16$/),
  });
  expect(await readdir(runs.folder.at("too-large"))).not.toContain("model");
});

test("a state that makes the next loss no number is taken back", async () => {
  const settings = await runs.settings({
    steps: 9,
    saveEvery: 2,
    learningRate: 1e-3,
    schedule: "constant",
    evalEvery: 99,
  });
  const stop = new AbortController();
  const recording = new Recording();
  recording.onStep = (step) => void (step === 4 && stop.abort());
  await runs.train("poisoned", settings, recording, stop.signal);
  const run = runs.folder.at("poisoned");
  const states = (await readdir(join(run, "state"))).toSorted();
  expect(states).toEqual(["step-4", "step-5"]);
  // As if the last update had made numbers that are none.
  await poison(join(run, "state", "step-5"));
  await expect(runs.train("poisoned", settings)).rejects.toMatchObject({
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
  const { result } = await runs.train("poisoned", settings);
  expect(result).toMatchObject({ ending: "finished", steps: 9 });
});

test("a best step that is taken back was never the best: best/ and the state are what they were, what was measured stays", async () => {
  const settings = await runs.settings({
    steps: 9,
    saveEvery: 2,
    learningRate: 1e-3,
    schedule: "constant",
    evalEvery: 5,
  });
  const kept = { ...settings, keep: 2 };
  const stopAt = async (name: string, last: number) => {
    const stop = new AbortController();
    const recording = new Recording();
    recording.evaluation = ({ step }) => void (step === last && stop.abort());
    recording.onStep = (step) => void (last === 4 && step === 3 && stop.abort()); // while the fourth is computed
    const { result } = await runs.train(name, kept, recording, stop.signal);
    expect(result).toMatchObject({ steps: last, bestStep: last === 5 ? 5 : 0 });
    return { ...(await outcomeOf(runs.folder.at(name))) };
  };
  const bestOf = (files: Record<string, string>) => Object.entries(files).filter(([name]) => name.startsWith("best"));
  const four = await stopAt("best-four", 4);
  const five = await stopAt("best-taken-back", 5);
  expect(bestOf(five)).not.toEqual(bestOf(four));
  const run = runs.folder.at("best-taken-back");
  await poison(join(run, "state", "step-5"));
  await expect(runs.train("best-taken-back", kept)).rejects.toMatchObject({
    code: "numeric",
    hint: expect.stringContaining("saved at step 4 is kept"),
  });
  const after = await outcomeOf(run);
  expect(bestOf(after).length).toBeGreaterThan(1);
  expect(bestOf(after)).toEqual(bestOf(four));
  const progress: unknown = JSON.parse(await readFile(join(run, "state", "step-4", "state.json"), "utf8"));
  expect(progress).toMatchObject({ step: 4, evaluated: 0, best: { step: 0 } });
  expect(after["metrics.jsonl"]).toBe(five["metrics.jsonl"]);
  // What nothing was wrong with is done again, to the same bits.
  expect((await runs.train("best-taken-back", kept)).result).toMatchObject({ ending: "finished", bestStep: 9 });
  await runs.train("best-whole", kept);
  expect(await outcomeOf(run)).toEqual(await outcomeOf(runs.folder.at("best-whole")));
}, 60_000);

test("an adapter that diverges before its first save is what it began with", async () => {
  const settings = await runs.settings({ steps: 9, learningRate: 1e38, gradClip: 0 });
  await expect(runs.train("diverged-early", settings)).rejects.toMatchObject({ code: "numeric" });
  const run = runs.folder.at("diverged-early");
  expect(await readdir(join(run, "state"))).toEqual(["step-0"]);
  await using adapter = await openAdapter(run);
  for (const [name, tensor] of adapter.tensors) {
    if (!name.endsWith("randlora_lambda")) continue;
    expect((await tensor.readAll()).every((byte) => byte === 0)).toBe(true);
  }
});

test("a run that goes back to what it began with keeps that, and its losses", async () => {
  for (const [name, keep] of [
    ["back-to-0", 1],
    ["back-to-0-of-3", 3],
  ] as const) {
    const settings = await runs.settings({
      steps: 9,
      saveEvery: 1,
      targets: "all-linear",
      learningRate: 1e30,
      gradClip: 0,
      keep,
      schedule: "constant",
    });
    const run = runs.folder.at(name);
    await using folder = await RunFolder.create(run, settings);
    const thrown = await finetune(
      { ...(await inputFor(settings)), folder, gpu: runs.gpu },
      new Recording(),
      new AbortController().signal,
    ).catch((error: unknown) => error);
    expect(thrown).toMatchObject({
      code: "numeric",
      message: expect.stringMatching(/^step 2: the loss is/),
      hint: expect.stringContaining("saved at step 0 is kept"),
    });
    // What the command and a comparison do with a run that failed.
    await folder.discardUnused();
    expect(await readdir(join(run, "state"))).toEqual(["step-0"]);
    const measured = parseMetrics(await readFile(join(run, "metrics.jsonl"), "utf8"));
    expect(measured.filter((line) => "loss" in line)).toHaveLength(1);
    await using adapter = await openAdapter(run);
    expect(adapter.tensors.size).toBeGreaterThan(0);
  }
});
