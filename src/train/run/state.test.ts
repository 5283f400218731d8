import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdir, readdir, readFile, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Parameters } from "../../adapters/method/parameters.ts";
import { loadParameters, saveState } from "./state.ts";
import { newestState, type Progress } from "../../models/folder/run-states.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const PLANS = [
  { name: "a.lambda", shape: [3, 5] },
  { name: "a.gamma", shape: [2, 8] },
] as const;
const ROLES = ["value", "mean", "square"] as const;

function progressAt(step: number): Progress {
  return {
    version: 1,
    step,
    tokens: step * 10,
    loss: 1 / 3,
    validLoss: null,
    evaluated: null,
    best: { step: 1, validLoss: 2.5 },
    evaluationsSinceBest: 2,
    kernels: { checkpointing: false, staging: "workgroup", choices: { orders: ["factored"] } },
    gpu: { name: "gpu", driver: "1" },
    data: "00",
  };
}

function fill(parameters: Parameters, from: number): void {
  for (const { name, shape } of parameters.all) {
    for (const [index, role] of ROLES.entries()) {
      const numbers = Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => (from + i + index * 100) / 7);
      parameters.write(name, role, numbers);
    }
  }
}

async function contents(parameters: Parameters): Promise<Float32Array[]> {
  return Promise.all(parameters.all.flatMap(({ name }) => ROLES.map((role) => parameters.read(name, role))));
}

test("a state comes back bit for bit; older ones go, as many as are to be kept stay", async () => {
  await using folder = await TemporaryFolder.create();
  const states = folder.at("state");
  const parameters = new Parameters(gpu, PLANS);
  expect(await newestState(states)).toBeUndefined();
  fill(parameters, 1);
  const wanted = await contents(parameters);
  await saveState(states, parameters, progressAt(9), 1);
  expect((await readdir(join(states, "step-9"))).toSorted()).toEqual([
    "DONE",
    "optimizer.safetensors",
    "parameters.safetensors",
    "state.json",
  ]);
  fill(parameters, 1000);
  const saved = await newestState(states);
  expect(saved?.progress).toEqual(progressAt(9));
  await loadParameters(saved?.folder ?? "", parameters);
  expect(await contents(parameters)).toEqual(wanted);

  await saveState(states, parameters, progressAt(10), 2);
  await saveState(states, parameters, progressAt(11), 2);
  expect((await readdir(states)).toSorted()).toEqual(["step-10", "step-11"]);
  await saveState(states, parameters, progressAt(100), 1);
  expect(await readdir(states)).toEqual(["step-100"]);

  const other = new Parameters(gpu, [{ name: "a.lambda", shape: [5, 3] }]);
  await expect(loadParameters(join(states, "step-100"), other)).rejects.toThrow('no F32 tensor "a.lambda"');
  other.release();
  parameters.release();
});

test("what is not complete does not count, is written anew and removed", async () => {
  await using folder = await TemporaryFolder.create();
  const states = folder.at("state");
  const parameters = new Parameters(gpu, PLANS);
  await saveState(states, parameters, progressAt(5), 3);
  await mkdir(join(states, "step-7"));
  await writeFile(join(states, "step-7", "state.json"), "{");
  await mkdir(join(states, "step-2"));
  expect((await newestState(states))?.progress.step).toBe(5);
  await saveState(states, parameters, progressAt(7), 3);
  expect((await newestState(states))?.progress.step).toBe(7);
  expect((await readdir(states)).toSorted()).toEqual(["step-5", "step-7"]);
  await unlink(join(states, "step-7", "DONE"));
  expect((await newestState(states))?.progress.step).toBe(5);
  await writeFile(join(states, "step-5", "state.json"), '{"version":2}');
  await expect(newestState(states)).rejects.toThrow("version");
  expect(await readFile(join(states, "step-5", "DONE"), "utf8")).toBe("");
  parameters.release();
});

test("a state is marked as complete when everything is in it", async () => {
  await using folder = await TemporaryFolder.create();
  const states = folder.at("state");
  const parameters = new Parameters(gpu, PLANS);
  let there: string[] = [];
  await saveState(states, parameters, progressAt(5), 3, async (state) => {
    there = (await readdir(state)).toSorted();
    expect(await newestState(states)).toBeUndefined();
  });
  expect(there).toEqual(["optimizer.safetensors", "parameters.safetensors", "state.json"]);
  expect((await newestState(states))?.progress.step).toBe(5);
  parameters.release();
});

test("what is not complete takes nobody's place among those that are kept", async () => {
  await using folder = await TemporaryFolder.create();
  const states = folder.at("state");
  const parameters = new Parameters(gpu, PLANS);
  for (const step of [3, 4]) await saveState(states, parameters, progressAt(step), 9);
  await mkdir(join(states, "step-5")); // of a process that was killed
  await saveState(states, parameters, progressAt(6), 2);
  expect((await readdir(states)).toSorted()).toEqual(["step-4", "step-6"]);
  parameters.release();
});

test("parameters that are no numbers are not saved: the state before stays", async () => {
  await using folder = await TemporaryFolder.create();
  const states = folder.at("state");
  const parameters = new Parameters(gpu, PLANS);
  fill(parameters, 1);
  await saveState(states, parameters, progressAt(1), 2);
  parameters.write("a.gamma", "value", new Float32Array(16).fill(Infinity, 3, 5));
  await expect(saveState(states, parameters, progressAt(2), 2)).rejects.toMatchObject({
    code: "numeric",
    message: '"a.gamma": 2 of its values are NaN or infinite',
  });
  expect(await readdir(states)).toEqual(["step-1"]);
  parameters.release();
});
