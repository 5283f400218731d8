import { afterAll, beforeAll, expect, test } from "bun:test";
import { Gpu } from "../gpu/gpu.ts";
import { TemporaryFolder } from "../safetensors/testing.ts";
import type { TrainSettings } from "./settings.ts";
import { outcomeOf, settingsFor, trainInto, writeTexts } from "./testing.ts";

/*
 * A software GPU is full only when the machine is. So its devices are real here, and count what they hold: a buffer beyond
 * `most` is made, and reported as a full GPU would report it.
 */

let most = Infinity;
/** Bytes that the device which was opened last held at most. */
let peak = 0;
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

function limited(device: GPUDevice): GPUDevice {
  let held = 0;
  peak = 0;
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
  const data = await writeTexts(folder.at("train.jsonl"), 24);
  const asked = { data, valid: await writeTexts(folder.at("valid.jsonl"), 2, 3), rank: 8, steps: 3, saveEvery: 1 };
  const settings = await settingsFor({ ...asked, batchSize: 24, learningRate: 5e-3 });
  const into = async (name: string, of: TrainSettings, limit = Infinity) => {
    most = limit;
    return await trainInto(folder.at(name), of);
  };
  const kept = await into("kept", settings);
  const keptPeak = peak;
  expect(kept.recording.warnings).toEqual([]);
  await into("spared", { ...settings, checkpointActivations: true });
  const sparedPeak = peak;
  expect(sparedPeak).toBeLessThan(keptPeak);

  const { recording, result } = await into("short", settings, (keptPeak + sparedPeak) / 2);
  expect(recording.warnings).toEqual([
    expect.stringMatching(/^.*: the GPU has no room for .*: trying once more, with activations recomputed/),
  ]);
  expect(recording.started?.checkpointing).toBe(true);
  expect(result).toMatchObject({ ending: "finished", steps: 3 });
  expect(recording.losses).toEqual(kept.recording.losses);
  const adapters = async (name: string) =>
    Object.entries(await outcomeOf(folder.at(name))).filter(([path]) => /^(adapter|best)/.test(path));
  expect(await adapters("short")).toEqual(await adapters("kept"));

  // Where even that is too much, there is no third attempt.
  const failed = into("never", settings, sparedPeak / 2);
  await expect(failed).rejects.toMatchObject({ code: "memory", message: expect.stringContaining("no room for") });
}, 120_000);
