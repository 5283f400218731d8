import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { padded4 } from "../../compute/device/families/delta.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { read } from "../../compute/device/transfer.ts";
import { Run } from "../../compute/tensor/run.ts";
import { itemAt } from "../../files/item-at.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { openPeft } from "../formats/peft.ts";
import { baseOf, f32 } from "../testing/adapters.ts";
import { nolaDelta, type TestNola, writeNola } from "../testing/nola.ts";
import { UNREAD, unreadRows } from "../testing/weights.ts";
import { nolaDeltas, planNola } from "./plan.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const MODULES = { q: [44, 36], v: [9, 36], down: [36, 53], up: [53, 36] } as const;
const every = (count: number) => Array.from({ length: count }, (_, i) => i);

test.each<[Pick<TestNola, "r" | "bases">, conv1d: boolean]>([
  [{ r: 8, bases: 24 }, false],
  [{ r: 8, bases: 24 }, true],
  [{ r: 3, bases: 7 }, true],
  [{ r: 19, bases: 5 }, false],
])("ΔW is scale · B·A of the definition: %j, stored transposed %j", async (sizes, conv1d) => {
  const nola: TestNola = { ...sizes, alpha: 3, key: -3n, initSeed: 5, modules: MODULES };
  await using folder = await TemporaryFolder.create();
  await using adapter = await openPeft(
    await writeNola(folder.at("a"), nola, { config: conv1d ? { fan_in_fan_out: true } : {} }),
  );
  const shapes = Object.entries(MODULES).map(([name, [out, input]]) => {
    return [`${name}.weight`, conv1d ? [input, out] : [out, input]] as const;
  });
  const plan = planNola(adapter, baseOf(Object.fromEntries(shapes), {}));
  const before = gpu.memory.liveBytes;
  const owner = new DisposableStack();
  const source = nolaDeltas(plan);
  const deltas = await source.upload(ownedBy(owner, gpu));
  for (const [index, [module, [out, input]]] of Object.entries(MODULES).entries()) {
    const layer = await deltas.layer(index, 2, UNREAD);
    const [rows, cols] = conv1d ? [input, out] : [out, input];
    const pitch = padded4(cols);
    const target = gpu.memory.allocate("target", rows * pitch * 4);
    using run = new Run(gpu);
    layer.form(run, { firstRow: 0, rows, pitch, target, ...unreadRows(target, cols) });
    await run.submit();
    const all = new Float32Array((await read(gpu, target)).buffer);
    layer.release();
    gpu.memory.release(target);
    const want = nolaDelta(nola, module).map((value) => 2 * value);
    const reference = await source.reference(index, 2, { rows: every(out), cols: every(input) }, UNREAD);
    const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    want.forEach((value, at) => {
      const [row, col] = [Math.floor(at / input), at % input];
      const ours = itemAt(all, conv1d ? col * pitch + row : row * pitch + col);
      // Elements of the element map are f32 numbers, of the definition f64 ones.
      expect(Math.abs(itemAt(reference, at) - value)).toBeLessThanOrEqual(1e-6 * largest);
      expect(Math.abs(ours - itemAt(reference, at))).toBeLessThanOrEqual(1e-6 * largest);
    });
  }
  owner.dispose();
  expect(gpu.memory.liveBytes).toBe(before);
});

test("a thousand bases leave room below what a verification allows", async () => {
  const nola: TestNola = { r: 8, bases: 1024, alpha: 16, key: 1n, initSeed: 0, modules: { m: [64, 48] } };
  await using folder = await TemporaryFolder.create();
  await using adapter = await openPeft(await writeNola(folder.at("a"), nola));
  const plan = planNola(adapter, baseOf({ "m.weight": [64, 48] }, {}));
  const owner = new DisposableStack();
  const source = nolaDeltas(plan);
  const deltas = await source.upload(ownedBy(owner, gpu));
  const layer = await deltas.layer(0, 1, UNREAD);
  const target = gpu.memory.allocate("target", 64 * 48 * 4);
  using run = new Run(gpu);
  layer.form(run, { firstRow: 0, rows: 64, pitch: 48, target, ...unreadRows(target, 48) });
  await run.submit();
  const ours = new Float32Array((await read(gpu, target)).buffer);
  const want = await source.reference(0, 1, { rows: every(64), cols: every(48) }, UNREAD);
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = want.reduce((most, value, at) => Math.max(most, Math.abs(itemAt(ours, at) - value)), 0);
  expect(worst).toBeLessThan(1e-6 * largest);
  layer.release();
  owner.dispose();
  gpu.memory.release(target);
});

test("coefficients that hold NaN are named, and nothing stays on the GPU", async () => {
  await using folder = await TemporaryFolder.create();
  const nola: TestNola = { r: 2, bases: 4, alpha: 2, key: 0n, initSeed: 0, modules: { m: [4, 4] } };
  const tensors = { "base_model.model.m.nola_coefficients_B": f32([4], new Float32Array(4).fill(NaN)) };
  await using adapter = await openPeft(await writeNola(folder.at("a"), nola, { tensors }));
  const plan = planNola(adapter, baseOf({ "m.weight": [4, 4] }));
  const before = gpu.memory.liveBytes;
  const owner = new DisposableStack();
  const refusal = await refusalOf(() => nolaDeltas(plan).upload(ownedBy(owner, gpu)));
  owner.dispose();
  expect([refusal.code, refusal.message]).toEqual([
    "numeric",
    expect.stringContaining('"m.nola_coefficients_B" holds NaN'),
  ]);
  expect(gpu.memory.liveBytes).toBe(before);
});
