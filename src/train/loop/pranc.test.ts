// PRANC in runs: one vector of coefficients for all layers is trained, saved, resumed, merged, and trained on.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { convertAdapter } from "../../adapters/convert.ts";
import { openAdapter } from "../../adapters/open.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import { AdaptedWeights } from "../../adapters/merge/in-memory/weights.ts";
import { read } from "../../compute/device/transfer.ts";
import { Notes, OPTIONS } from "../../adapters/merge/testing/merge.ts";
import { merge } from "../../adapters/merge/to-files/run.ts";
import { Decoder } from "../../models/decoder/decoder.ts";
import { Run } from "../../compute/tensor/run.ts";
import { Tape } from "../../compute/tensor/tape.ts";
import { loadRunData, planRun } from "../text/data.ts";
import { Engine } from "./engine.ts";
import { initialSettings } from "../model/init-adapter.ts";
import { ModelSource } from "../text/model.ts";
import { type AskedSettings, resolveSettings } from "../settings/resolve-settings.ts";
import type { TrainSettings } from "../settings/settings.ts";
import { outcomeOf, Recording, settingsFor } from "../testing/runs.ts";
import { ShortRuns } from "../testing/short-runs.ts";

let runs: ShortRuns;
beforeAll(async () => {
  runs = await ShortRuns.open({ data: 8, valid: 2 });
});
afterAll(() => runs[Symbol.asyncDispose]());

/** q lies joined with k and v, up with gate. */
const TARGETS = ["q_proj", "v_proj", "up_proj", "down_proj"];

function small(asked: Partial<AskedSettings> = {}): Promise<TrainSettings> {
  const { data, valid } = runs;
  const common = { method: "pranc", targets: TARGETS, bases: 24, alpha: 3, batchSize: 2, gradAccum: 2, steps: 4 };
  return settingsFor({ data, valid, ...common, saveEvery: 2, evalEvery: 2, learningRate: 0.05, ...asked });
}

test.each<[string, Partial<AskedSettings>]>([
  ["plain", {}],
  ["dropping", { dropout: 0.1, basisSeed: "-5" }],
])("it trains, and comes to the same bytes when it is interrupted: %s", async (name, asked) => {
  const settings = await small(asked);
  const before = runs.gpu.memory.liveBytes;
  const { result, recording } = await runs.train(`${name}-whole`, settings);
  expect(runs.gpu.memory.liveBytes).toBe(before);
  expect(recording.warnings).toEqual([]);
  expect(result).toMatchObject({ ending: "finished", trainableParameters: 24 });
  const [first = NaN] = recording.metrics.flatMap((line) => ("valid_loss" in line ? [line.valid_loss] : []));
  expect(result.validLoss).toBeLessThan(first - 0.01);
  // Stopped after its third step, which is no save.
  const stop = new AbortController();
  const stopping = new Recording();
  stopping.onStep = (step) => void (step === 2 && stop.abort());
  await runs.train(`${name}-parts`, settings, stopping, stop.signal);
  await runs.train(`${name}-parts`, settings);
  expect(await outcomeOf(runs.folder.at(`${name}-parts`))).toEqual(await outcomeOf(runs.folder.at(`${name}-whole`)));
});

test("it begins with the base itself, and recomputing activations changes no loss", async () => {
  const settings = await small({ steps: 2, targets: "all-linear" });
  const { recording } = await runs.train("kept", settings);
  const spared = await runs.train("spared", { ...settings, checkpointActivations: true });
  expect(spared.recording.losses).toEqual(recording.losses);
  const lora = { method: "lora", targets: TARGETS, steps: 1 };
  const { recording: other } = await runs.train("lora", await runs.settings(lora));
  expect(other.losses[0] ?? NaN).toBeCloseTo(recording.losses[0] ?? NaN, 5);
});

describe("what a run has made", () => {
  const at = (...names: string[]) => runs.folder.at("made", ...names);
  let validLoss: number | undefined;
  beforeAll(async () => {
    ({ validLoss } = (await runs.train("made", await small())).result);
  });

  test("is merged, and verified; chat has the bytes of the merged folder", async () => {
    const merging = { ...OPTIONS, base: STORIES, adapters: [at()], out: runs.folder.at("merged") };
    const { merged, bases, maxErrorUlp } = await merge(merging, new Notes(), new AbortController().signal);
    expect([merged, bases]).toEqual([20, ["philox-v1"]]);
    expect(maxErrorUlp).toBeDefined();
    const [decoder, whole] = [await Decoder.load(runs.gpu, STORIES), await Decoder.load(runs.gpu, merging.out)];
    await using weights = await AdaptedWeights.open(decoder, STORIES);
    await weights.apply([{ path: at(), scale: 1 }]);
    for (const [name, { buffer }] of decoder.weights.tensors) {
      const other = whole.weights.tensors.get(name);
      if (other === undefined) throw new Error(name);
      expect(await read(runs.gpu, buffer)).toEqual(await read(runs.gpu, other.buffer));
    }
    for (const one of [decoder, whole]) one.release();
  });

  test("is trained on as if there had been no pause, from either format, and resumed without it", async () => {
    await using adapter = await openAdapter(at());
    await convertAdapter(adapter, { to: "json", out: runs.folder.at("a.json"), projections: undefined });
    const init = await initialSettings(runs.folder.at("a.json"), undefined);
    expect(init).toMatchObject({ method: "pranc", bases: 24, alpha: 3, basisSeed: "0" });
    const settings = await small({ ...init, steps: 1, initAdapter: runs.folder.at("a.json"), dropout: 0.1 });
    const { recording } = await runs.train("on", settings);
    expect(recording.metrics[0]).toMatchObject({ step: 0, valid_loss: expect.closeTo(validLoss ?? NaN, 5) });
    await using on = await openAdapter(runs.folder.at("on"));
    expect(on.bases).toEqual(adapter.bases);
    expect(on.config).toEqual({ ...adapter.config, pranc_dropout: 0.1 });
    await rename(runs.folder.at("a.json"), runs.folder.at("moved.json"));
    const longer = { ...settings, steps: 2, schedule: "constant" as const };
    expect((await runs.train("on", longer)).result.steps).toBe(2);

    const facts = { modelType: "llama", contextLength: 64, init };
    const asked = { model: STORIES, data: runs.data, initAdapter: join(at(), "adapter") };
    expect(() => resolveSettings({ ...asked, bases: 23 }, facts)).toThrow("--bases 23: the adapter of");
  });
});

test("settings: defaults, and what it has not", async () => {
  const facts = { modelType: "llama", contextLength: 64 };
  const asked = { model: STORIES, data: runs.data, method: "pranc" };
  expect(resolveSettings(asked, facts)).toMatchObject({ adapter: { bases: 256, alpha: 1, basisSeed: "0" } });
  for (const [more, message] of [
    [{ rank: 8 }, "--rank 8 has no meaning"],
    [{ bases: 2 ** 21 }, "--bases 2097152: at most 1048576"],
    [{ generator: "philox-v1" }, "--generator has no meaning with --method pranc"],
  ] as const) {
    const refusal = await refusalOf(() => resolveSettings({ ...asked, ...more }, facts));
    expect([refusal.code, refusal.message]).toEqual(["usage", expect.stringContaining(message)]);
  }
});

test("through the model the gradient is the slope of the loss", async () => {
  const settings = await small({ bases: 3, gradAccum: 1 });
  const { steps } = planRun(settings, (await loadRunData(settings, STORIES)).data);
  await using source = await ModelSource.open(settings, { folder: STORIES, weights: undefined });
  const staging = runs.gpu.staging;
  const place = { staging, tokens: 128, microBatches: 1, budget: 2 ** 30, choices: undefined };
  using model = await source.place(runs.gpu, place);
  await model.weights.fill();
  const { method, parameters, task } = model;
  const step = steps.step(0);
  const [batch] = step.microBatches;
  if (batch === undefined) throw new Error("no micro-batch");
  const count = task.termsOf(batch);
  const [plan] = parameters.all;
  if (plan === undefined) throw new Error("no parameter");
  const start = [0.4, -0.3, 0.2];
  const put = (values: readonly number[]) => parameters.write(plan.name, "value", Float32Array.from(values));
  put(start);
  {
    using run = new Run(runs.gpu, staging);
    const tape = new Tape(run);
    method.prepare(run);
    const losses = task.losses(tape, method.linears({ kind: "train", step: 0, microBatch: 0 }), batch, {
      checkpointing: false,
    });
    const ones = new Float32Array(count).fill(1 / count);
    tape.backward(losses, run.upload("gradient", losses.shape, ones));
    tape.release(losses);
    method.finish(run);
    await run.submit();
  }
  const gradient = await parameters.read(plan.name, "gradient");
  const { betas, eps, weightDecay, gradClip } = settings;
  const optimizer = { betas, eps, weightDecay, gradClip };
  using engine = new Engine(runs.gpu, model, { optimizer, checkpointing: false, staging });
  const lossAt = async (values: readonly number[]) => {
    put(values);
    return (await engine.sampleLoss(step)) ?? NaN;
  };
  const h = 0.01;
  for (let i = 0; i < start.length; i++) {
    const moved = (by: number) => lossAt(start.map((value, at) => value + (at === i ? by : 0)));
    // Of the fourth order: the loss is far from a parabola.
    const near = (await moved(h)) - (await moved(-h));
    const far = (await moved(2 * h)) - (await moved(-2 * h));
    expect((gradient[i] ?? NaN) / ((8 * near - far) / (12 * h))).toBeCloseTo(1, 3);
  }
  expect(Math.max(...gradient.map(Math.abs))).toBeGreaterThan(1);
});
