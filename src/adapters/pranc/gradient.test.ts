import { afterAll, beforeAll, expect, test } from "bun:test";
import { itemAt } from "../../files/item-at.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Run } from "../../compute/tensor/run.ts";
import { sliceRows } from "../../compute/tensor/tensor.ts";
import { error, placed, taken } from "../testing/bases.ts";
import { thetaProducts } from "../testing/theta.ts";
import { philoxKey } from "../../compute/random/philox.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const SEED = 77n;
const SCALE = 0.6;

interface Case {
  readonly out: number;
  readonly in: number;
  readonly bases: number;
  readonly offset?: number;
}

/** dα after two gradients were added to what was there. */
async function gradientOf({ out, in: input, bases, offset = 0 }: Case) {
  const live = gpu.memory.liveBytes;
  const key = philoxKey(SEED);
  const wave = (count: number, at: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(at + 1.3 * i));
  const [g, before] = [wave(out * input, 2), wave(bases, 5)];
  // A view, with rows above it that belong to something else.
  const onGpu = sliceRows(placed(gpu, [out + 2, input], [...wave(2 * input, 9), ...g]), 2, out);
  const target = placed(gpu, [1, bases], before, 64);
  const parts = gpu.memory.allocate("parts", gpu.scratchBytes("thetaGradient", { bases }).parts);
  const run = new Run(gpu);
  const layer = { out, in: input, offset, scale: SCALE };
  for (let i = 0; i < 2; i++) run.compute("thetaGradient", { layer, key, g: onGpu, target, parts });
  await run.submit();
  const found = await taken(gpu, target);
  for (const buffer of [onGpu.buffer, target.buffer, parts]) gpu.memory.release(buffer);
  run[Symbol.dispose]();
  expect(gpu.memory.liveBytes).toBe(live);
  const products = thetaProducts({ seed: SEED, out, in: input, offset }, g, bases);
  return { found, want: products.map((value, i) => itemAt(before, i) + 2 * SCALE * value) };
}

/** Below, at and above a workgroup's bases; blocks that straddle rows; one row, one column; several slices. */
const CASES: readonly Case[] = [
  { out: 3, in: 5, bases: 1 },
  { out: 1, in: 100, bases: 63 },
  { out: 70, in: 1, bases: 64 },
  { out: 37, in: 43, bases: 65, offset: 2 ** 32 - 512 },
  { out: 20, in: 31, bases: 200, offset: 2 ** 41 },
  { out: 130, in: 99, bases: 3, offset: 160 },
];

test.each(CASES.map((one) => [JSON.stringify(one), one] as const))("dα_i += scale · Σ G θ_i: %s", async (_, one) => {
  const { found, want } = await gradientOf(one);
  expect(error(found, want)).toBeLessThan(5e-6);
});

test("the same gradient gives the same bytes", async () => {
  const one = { out: 45, in: 39, bases: 40 };
  expect((await gradientOf(one)).found).toEqual((await gradientOf(one)).found);
});
