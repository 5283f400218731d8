import { afterAll, beforeAll, expect, test } from "bun:test";
import golden from "../../../fixtures/optimizer/optimizer.json" with { type: "json" };
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { read } from "../../compute/device/transfer.ts";
import { STEP_STATE } from "../../compute/device/families/optimizer.ts";
import { Run } from "../../compute/tensor/run.ts";
import { AdamW, addLosses, type AdamWSettings } from "./adamw.ts";
import { Parameters } from "../../adapters/method/parameters.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const PLAIN: AdamWSettings = { betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, gradClip: 0 };

/** What fixtures/optimizer/make.py starts from. */
const START = [
  { name: "a", shape: [3, 5] as const },
  { name: "b", shape: [1, 7] as const },
  { name: "c", shape: [2, 4] as const },
];

function startValues(k: number, size: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: size }, (_, i) => (((i * 29 + k * 31) % 41) - 20) / 20);
}

function gradient(step: number, k: number, size: number): Float32Array<ArrayBuffer> {
  const factor = step % 2 === 1 ? 3 : 0.05;
  return Float32Array.from({ length: size }, (_, i) => ((((i * 37 + step * 101 + k * 53) % 97) - 48) / 97) * factor);
}

test.each(golden.trajectories)("torch's AdamW, clipping and schedule: $settings", async ({ settings, steps }) => {
  const { betas, eps, decay, clip } = settings;
  // Buffers of 256 bytes: each tensor in a chunk of its own.
  const parameters = new Parameters(gpu, START, 256);
  expect(parameters.chunks.length).toBe(3);
  const [beta1 = NaN, beta2 = NaN] = betas;
  const adamw = new AdamW(gpu, parameters, { betas: [beta1, beta2], eps, weightDecay: decay, gradClip: clip });
  const sizes = START.map(({ shape }) => shape[0] * shape[1]);
  for (const [k, { name }] of START.entries()) parameters.write(name, "value", startValues(k, sizes[k] ?? 0));
  using run = new Run(gpu);
  for (const [index, expected] of steps.entries()) {
    for (const [k, { name }] of START.entries()) {
      parameters.write(name, "gradient", gradient(index + 1, k, sizes[k] ?? 0));
    }
    const losses = run.upload("losses", [3, 1], Float32Array.of(1, 2, 6));
    addLosses(run, losses, 0.5, adamw.loss, STEP_STATE.loss, true);
    addLosses(run, losses, 0.25, adamw.loss, STEP_STATE.loss, false);
    adamw.update(run, index + 1, expected.rate);
    await run.submit();
    const outcome = await adamw.read();
    expect(outcome.loss).toBe(6.75);
    expect(outcome.halted).toBe(false);
    expect(Math.abs(outcome.gradNorm / expected.norm - 1)).toBeLessThan(1e-6);
    for (const { name } of START) {
      const want: readonly number[] = expected.values[name as "a" | "b" | "c"];
      const have = await parameters.read(name);
      // Near zero a step of 1e-2 is the scale; elsewhere a few units in the last place.
      for (const [i, value] of have.entries()) expect(Math.abs(value - (want[i] ?? NaN))).toBeLessThan(3e-7);
    }
  }
  adamw.release();
  parameters.release();
});

test("many parameters: as in f64, and gradients are zero afterwards", async () => {
  const plans = [
    { name: "odd", shape: [301, 129] as const },
    { name: "slow", shape: [2, 5] as const, rate: 0.25 },
    { name: "small", shape: [1, 3] as const },
  ];
  const parameters = new Parameters(gpu, plans);
  // What is trained at the same rate shares a chunk, whatever lies between.
  expect(parameters.chunks.map(({ rate }) => rate)).toEqual([1, 0.25]);
  expect(parameters.all.map(({ name }) => name)).toEqual(["odd", "slow", "small"]);
  const settings = { ...PLAIN, weightDecay: 0.1, gradClip: 1 };
  const adamw = new AdamW(gpu, parameters, settings);
  using run = new Run(gpu);
  const values = plans.map(({ shape }, k) => startValues(k, shape[0] * shape[1]));
  for (const [k, { name }] of plans.entries()) parameters.write(name, "value", values[k] ?? new Float32Array());
  const wanted = values.map((list) => Float64Array.from(list));
  const means = values.map((list) => new Float64Array(list.length));
  const squares = values.map((list) => new Float64Array(list.length));
  for (let step = 1; step <= 3; step++) {
    const gradients = plans.map(({ shape }, k) => gradient(step, k, shape[0] * shape[1]));
    for (const [k, { name }] of plans.entries()) {
      parameters.write(name, "gradient", gradients[k] ?? new Float32Array());
    }
    addLosses(run, run.upload("losses", [1, 1], Float32Array.of(1)), 1, adamw.loss, STEP_STATE.loss, true);
    adamw.update(run, step, 1e-3);
    await run.submit();
    const norm = Math.sqrt(gradients.reduce((sum, list) => list.reduce((total, g) => total + g * g, sum), 0));
    expect(Math.abs((await adamw.read()).gradNorm / norm - 1)).toBeLessThan(1e-6);
    const factor = Math.min(1, 1 / (norm + 1e-6));
    for (const [k, list] of gradients.entries()) {
      const rate = 1e-3 * (plans[k]?.rate ?? 1);
      list.forEach((raw, i) => {
        const g = raw * factor;
        const [m, v] = [means[k], squares[k]];
        const target = wanted[k];
        if (m === undefined || v === undefined || target === undefined) throw new RangeError();
        m[i] = 0.9 * (m[i] ?? 0) + 0.1 * g;
        v[i] = 0.999 * (v[i] ?? 0) + 0.001 * g * g;
        const update = (m[i] ?? 0) / (1 - 0.9 ** step) / (Math.sqrt((v[i] ?? 0) / (1 - 0.999 ** step)) + 1e-8);
        target[i] = (target[i] ?? 0) * (1 - rate * 0.1) - rate * update;
      });
    }
  }
  for (const [k, { name }] of plans.entries()) {
    const have = await parameters.read(name);
    const worst = have.reduce((most, value, i) => Math.max(most, Math.abs(value - (wanted[k]?.[i] ?? NaN))), 0);
    expect(worst).toBeLessThan(5e-7);
  }
  // Everything between the tensors stayed zero, too.
  const [chunk] = parameters.chunks;
  if (chunk === undefined) throw new RangeError();
  expect(new Uint32Array((await read(gpu, chunk.gradient)).buffer).every((word) => word === 0)).toBe(true);
  const all = new Float32Array((await read(gpu, chunk.value)).buffer);
  const pitch = parameters.get("odd").value.pitch;
  expect(all.filter((_, i) => i < 301 * pitch && i % pitch >= 129).every((value) => value === 0)).toBe(true);
  adamw.release();
  parameters.release();
});

test.each(["loss", "gradient"] as const)("a %s that is not finite halts every later update", async (what) => {
  const parameters = new Parameters(gpu, [{ name: "a", shape: [1, 5] }]);
  const adamw = new AdamW(gpu, parameters, PLAIN);
  using run = new Run(gpu);
  parameters.write("a", "value", startValues(0, 5));
  const step = async (bad: number) => {
    const gradients = gradient(1, 0, 5);
    if (what === "gradient") gradients[3] = bad;
    parameters.write("a", "gradient", gradients);
    addLosses(
      run,
      run.upload("losses", [2, 1], Float32Array.of(1, what === "loss" ? bad : 1)),
      0.5,
      adamw.loss,
      STEP_STATE.loss,
      true,
    );
    adamw.update(run, 1, 1e-2);
    await run.submit();
    return adamw.read();
  };
  expect((await step(1)).halted).toBe(false);
  const good = await parameters.read("a");
  for (const bad of [what === "loss" ? -Infinity : Infinity, NaN, 1]) expect((await step(bad)).halted).toBe(true);
  expect(await parameters.read("a")).toEqual(good);
  expect(await parameters.read("a", "mean")).not.toEqual(new Float32Array(5));
  adamw.release();
  parameters.release();
});
