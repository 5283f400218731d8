import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import type { Device } from "../../compute/device/device.ts";
import { padded4 } from "../../compute/device/families/delta.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { read } from "../../compute/device/transfer.ts";
import { Run } from "../../compute/tensor/run.ts";
import { itemAt } from "../../files/item-at.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { lowRankDeltas } from "../delta/low-rank/product.ts";
import { openPeft } from "../formats/peft.ts";
import { baseOf, f32 } from "../testing/adapters.ts";
import { loraDelta, type TestLora, writeLora } from "../testing/lora.ts";
import { UNREAD, unreadRows } from "../testing/weights.ts";
import { loraConfig } from "./config.ts";
import { planLora, storedLayers } from "./plan.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

interface Case {
  readonly out: number;
  readonly in: number;
  readonly r: number;
  readonly conv1d?: boolean;
  readonly staging?: Staging;
  readonly number?: TestLora["number"];
}

/** ΔW of one module as it is stored, f32, without gaps; the reference beside it. */
async function deltaOf({ out, in: input, r, conv1d = false, staging = gpu.staging, number }: Case) {
  const lora: TestLora = { r, alpha: 3, seed: out + input, modules: { m: [out, input] }, ...(number && { number }) };
  await using folder = await TemporaryFolder.create();
  await using adapter = await openPeft(await writeLora(join(folder.path, "a"), lora));
  const [rows, cols] = conv1d ? [input, out] : [out, input];
  const plan = planLora(adapter, baseOf({ "m.weight": [rows, cols] }, {}), {
    ...loraConfig(adapter),
    fanInFanOut: conv1d,
  });
  using run = new Run(gpu, staging);
  const before = gpu.memory.liveBytes;
  const owner = new DisposableStack();
  const source = lowRankDeltas(storedLayers(adapter, plan.layers));
  const deltas = await source.upload(ownedBy(owner, gpu), staging);
  const layer = await deltas.layer(0, 2, UNREAD);
  const pitch = padded4(cols);
  const target = gpu.memory.allocate("target", rows * pitch * 4);
  layer.form(run, { firstRow: 0, rows, pitch, target, ...unreadRows(target, cols) });
  await run.submit();
  const all = new Float32Array((await read(gpu, target)).buffer);
  layer.release();
  owner.dispose();
  gpu.memory.release(target);
  expect(gpu.memory.liveBytes).toBe(before);
  const ours = Float64Array.from({ length: out * input }, (_, at) => {
    const [row, col] = [Math.floor(at / input), at % input];
    return itemAt(all, conv1d ? col * pitch + row : row * pitch + col);
  });
  const every = (count: number) => Array.from({ length: count }, (_, i) => i);
  const sample = { rows: every(out), cols: every(input) };
  const reference = await source.reference(0, 2, sample, UNREAD);
  return { ours, reference, want: loraDelta(lora, "m").map((value) => 2 * value) };
}

/** Ranks below, at and above a vector, a slab and a partial sum; odd sizes; several tiles; both orientations. */
const CASES: readonly Case[] = [
  { out: 40, in: 24, r: 1 },
  { out: 24, in: 40, r: 4 },
  { out: 37, in: 75, r: 5 },
  { out: 75, in: 37, r: 17 },
  { out: 1, in: 9, r: 2 },
  { out: 9, in: 1, r: 3 },
  { out: 130, in: 70, r: 64 },
  { out: 30, in: 20, r: 300 },
];
const VARIED = CASES.flatMap((one): Case[] => [
  one,
  { ...one, conv1d: true },
  { ...one, staging: { kind: "workgroup" } },
  { ...one, conv1d: true, staging: { kind: "workgroup" } },
]);

test.each(VARIED.map((one) => [JSON.stringify(one), one] as const))("ΔW is scale · B·A: %s", async (_, one) => {
  const { ours, reference, want } = await deltaOf(one);
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  want.forEach((value, at) => {
    expect(Math.abs(itemAt(reference, at) - value)).toBeLessThanOrEqual(1e-12 * largest);
    expect(Math.abs(itemAt(ours, at) - value)).toBeLessThanOrEqual(2e-6 * largest);
  });
});

test("numbers whose sums are exact in f32 give exactly ΔW", async () => {
  // B is an eighth of them, and the scale a power of two times 3/r: r = 12 makes it exact.
  const number = (index: number) => ((index * 7919) % 33) - 16;
  for (const conv1d of [false, true]) {
    const { ours, want } = await deltaOf({ out: 50, in: 29, r: 12, conv1d, number });
    expect(ours).toEqual(want);
  }
});

test("factors that hold NaN are named, and nothing stays on the GPU", async () => {
  await using folder = await TemporaryFolder.create();
  const tensors = { "base_model.model.m.lora_B.weight": f32([4, 2], new Float32Array(8).fill(NaN)) };
  const lora: TestLora = { r: 2, alpha: 2, seed: 1, modules: { m: [4, 4] } };
  await using adapter = await openPeft(await writeLora(join(folder.path, "a"), lora, { tensors }));
  const { layers } = planLora(adapter, baseOf({ "m.weight": [4, 4] }));
  const owner = new DisposableStack();
  const deltas = await lowRankDeltas(storedLayers(adapter, layers)).upload(ownedBy(owner, gpu));
  const before = gpu.memory.liveBytes;
  const refusal = await refusalOf(() => deltas.layer(0, 1, UNREAD));
  expect([refusal.code, refusal.message]).toEqual(["numeric", expect.stringContaining('"m.lora_B.weight" holds NaN')]);
  expect(gpu.memory.liveBytes).toBe(before);
  owner.dispose();
});
