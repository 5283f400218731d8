import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFile } from "node:fs/promises";
import { Gpu } from "../../compute/gpu/gpu.ts";
import { FIRST_GPU } from "../../compute/device/testing/open.ts";
import { KeptGpu } from "./kept-gpu.ts";
import { resumeSettings } from "../settings/resume-settings.ts";
import type { TrainSettings } from "../settings/settings.ts";
import { outcomeOf, Recording, settingsFor, trainInto, writeTexts } from "../testing/runs.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

/*
 * A software GPU is full only when the machine is. So its devices are real here, and count what they hold: a buffer beyond
 * `most` is made, and reported as a full GPU would report it.
 */

let most = Infinity;
/** Bytes that the device which was opened last held at most. */
let peak = 0;
/** Bytes that it binds at once. */
let binds = Infinity;
let restore = (): void => {};
beforeAll(async () => {
  (await Gpu.open()).close(); // Dawn's classes are globals only once its library is loaded
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (this: GPUAdapter, descriptor) {
    return limited(await requestDevice.call(this, descriptor));
  };
  restore = () => void (GPUAdapter.prototype.requestDevice = requestDevice);
});
afterAll(() => restore());

/** A run on a GPU of its own, whatever device tests are run on. */
async function trainOnGpu(out: string, settings: TrainSettings, recording?: Recording) {
  using gpu = new KeptGpu(FIRST_GPU);
  return await trainInto(out, settings, recording, undefined, gpu);
}

function limited(device: GPUDevice): GPUDevice {
  let held = 0;
  peak = 0;
  if (binds < Infinity) {
    const { limits } = device;
    const maxStorageBufferBindingSize = binds;
    const get = (_: unknown, name: string) =>
      name in own ? own.maxStorageBufferBindingSize : Reflect.get(limits, name);
    const own = { maxStorageBufferBindingSize };
    Object.defineProperty(device, "limits", { value: new Proxy(own, { get }) });
  }
  /** The scopes that are open, innermost last: did one for memory see too much? */
  const scopes: { readonly filter: GPUErrorFilter; isFull: boolean }[] = [];
  const { createBuffer, pushErrorScope, popErrorScope } = device;
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer.call(device, descriptor);
    const { destroy } = buffer;
    held += buffer.size;
    peak = Math.max(peak, held);
    const scope = scopes.at(-1);
    if (held > most && scope?.filter === "out-of-memory") scope.isFull = true;
    buffer.destroy = () => {
      held -= buffer.size;
      return destroy.call(buffer);
    };
    return buffer;
  };
  device.pushErrorScope = (filter) => {
    scopes.push({ filter, isFull: false });
    return pushErrorScope.call(device, filter);
  };
  device.popErrorScope = async () => {
    const scope = scopes.pop();
    const error = await popErrorScope.call(device);
    return error ?? (scope?.isFull === true ? new GPUOutOfMemoryError("VK_ERROR_OUT_OF_DEVICE_MEMORY") : null);
  };
  return device;
}

test("a GPU that is full is opened anew, with activations recomputed; the run is the same to the bit", async () => {
  await using folder = await TemporaryFolder.create();
  const data = await writeTexts(folder.at("train.jsonl"), 6);
  const asked = { data, valid: await writeTexts(folder.at("valid.jsonl"), 1, 3), rank: 8, steps: 2, saveEvery: 1 };
  const settings = await settingsFor({ ...asked, batchSize: 6, learningRate: 5e-3 });
  const into = async (name: string, of: TrainSettings, limit = Infinity, gpu?: KeptGpu) => {
    most = limit;
    return gpu === undefined
      ? await trainOnGpu(folder.at(name), of)
      : await trainInto(folder.at(name), of, undefined, undefined, gpu);
  };
  const kept = await into("kept", settings);
  const keptPeak = peak;
  expect(kept.recording.warnings).toEqual([]);
  await into("spared", { ...settings, checkpointActivations: true });
  const sparedPeak = peak;
  expect(sparedPeak).toBeLessThan(keptPeak);

  const { recording, result } = await into("short", settings, (keptPeak + sparedPeak) / 2);
  expect(recording.warnings).toEqual([
    expect.stringMatching(
      /^.*: the GPU has no room for .*: trying once more: activations are recomputed instead of kept$/,
    ),
  ]);
  expect(recording.started?.checkpointing).toBe(true);
  expect(result).toMatchObject({ ending: "finished", steps: 2 });
  expect(recording.losses).toEqual(kept.recording.losses);
  const adapters = async (name: string) =>
    Object.entries(await outcomeOf(folder.at(name))).filter(([path]) => /^(adapter|best)/.test(path));
  expect(await adapters("short")).toEqual(await adapters("kept"));

  // One that is kept for further runs is opened anew, too.
  using several = new KeptGpu(FIRST_GPU);
  const among = await into("among", settings, (keptPeak + sparedPeak) / 2, several);
  expect([among.recording.warnings.length, among.recording.losses]).toEqual([1, kept.recording.losses]);

  // Where even that is too much, there is no further attempt.
  const failed = into("never", settings, sparedPeak / 2).finally(() => (most = Infinity));
  await expect(failed).rejects.toMatchObject({ code: "memory", message: expect.stringContaining("no room for") });
}, 400_000);

test("where recomputed activations are too much, W' is not kept either", async () => {
  await using folder = await TemporaryFolder.create();
  const data = await writeTexts(folder.at("train.jsonl"), 3);
  const asked = { data, rank: 8, steps: 3, batchSize: 1, compute: "merged", checkpointActivations: true } as const;
  const settings = await settingsFor({ ...asked, targets: "all-linear", learningRate: 5e-3 });
  const kept = await trainOnGpu(folder.at("kept"), settings);
  most = peak * 0.9;
  const least = await trainOnGpu(folder.at("least"), settings).finally(() => (most = Infinity));
  expect(least.recording.warnings).toEqual([
    expect.stringMatching(/the adapter's products are formed anew instead of kept$/),
  ]);
  expect(least.result.ending).toBe("finished");
  // The same numbers in another order.
  least.recording.losses.forEach((loss, at) => expect(loss).toBeCloseTo(kept.recording.losses[at] ?? NaN, 4));
}, 60_000);

test("the largest micro-batch is tried before anything is trained, wherever it comes", async () => {
  await using folder = await TemporaryFolder.create();
  const data = await writeTexts(folder.at("train.jsonl"), 3);
  const short = await settingsFor({ data, rank: 8, batchSize: 1, saveEvery: 1, method: "lora" });
  await trainOnGpu(folder.at("short"), short);
  const shortPeak = peak;
  await appendFile(data, `${JSON.stringify({ text: "The cat ran. ".repeat(150) })}\n`);
  const settings = await settingsFor({ ...short, data, shuffle: false, rank: 8, method: "lora" });
  most = shortPeak * 1.2;
  const recording = new Recording();
  const failed = trainOnGpu(folder.at("long"), settings, recording).finally(() => (most = Infinity));
  await expect(failed).rejects.toMatchObject({
    code: "memory",
    hint: expect.stringContaining("a smaller --batch-size"),
  });
  expect([recording.metrics, recording.saves]).toEqual([[], []]);
  // Without the limit it is the last step that is the largest.
  const { result } = await trainOnGpu(folder.at("long"), settings);
  expect(result.steps).toBe(4);
  expect(peak).toBeGreaterThan(shortPeak * 1.2);
  // Buffers that are kept for later ones of their size do not add to what was tried.
  expect(peak).toBeLessThan(result.estimatedGpuBytes * 1.02);
}, 60_000);

test("a run whose GPU is full later is resumed with recomputed activations, to the same bits", async () => {
  await using folder = await TemporaryFolder.create();
  const data = await writeTexts(folder.at("train.jsonl"), 24);
  const settings = await settingsFor({ data, rank: 8, steps: 4, saveEvery: 1, batchSize: 6, dropout: 0.1 });
  await trainOnGpu(folder.at("whole"), settings);
  const recording = new Recording();
  recording.onStep = (step) => void (most = step === 2 ? 0 : most);
  const failed = trainOnGpu(folder.at("parts"), settings, recording).finally(() => (most = Infinity));
  await expect(failed).rejects.toMatchObject({
    code: "memory",
    hint: expect.stringMatching(
      /go on from step [12]: --resume .*parts --checkpoint-activations; a new run takes less/,
    ),
  });
  const resumed = await trainOnGpu(folder.at("parts"), resumeSettings(settings, { checkpointActivations: true }));
  expect(resumed.recording.started).toMatchObject({ checkpointing: true, step: expect.any(Number) });
  expect(resumed.result.stepsBefore).toBeGreaterThan(0);
  const [whole, parts] = [await outcomeOf(folder.at("whole")), await outcomeOf(folder.at("parts"))];
  // The state tells that activations were recomputed.
  for (const outcome of [whole, parts]) delete outcome["state/step-4/state.json"];
  expect(Object.keys(whole)).toContain("state/step-4/parameters.safetensors");
  expect(parts).toEqual(whole);
}, 60_000);

test("a tensor that is too large to bind is not tried again with recomputed activations", async () => {
  await using folder = await TemporaryFolder.create();
  const settings = await settingsFor({ data: await writeTexts(folder.at("train.jsonl"), 24), rank: 8, batchSize: 24 });
  binds = 2 ** 16;
  const recording = new Recording();
  const failed = trainOnGpu(folder.at("run"), settings, recording).finally(() => (binds = Infinity));
  await expect(failed).rejects.toMatchObject({ code: "memory", message: expect.stringContaining("binds at most") });
  expect(recording.warnings).toEqual([]);
});
