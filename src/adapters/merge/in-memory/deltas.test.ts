import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { f32, numbers, safetensorsBytes } from "../../testing/adapters.ts";
import { loraDelta, type TestLora, writeLora } from "../../testing/lora.ts";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { type TestAdapter, writeAdapter } from "../testing/models.ts";
import { openAdapter } from "../../formats/open.ts";
import { planAdapter } from "../../methods.ts";
import { type DeltaChoice, openDeltas, openPair } from "./deltas.ts";
import { compareDeltas, spectra, spectrumWork } from "../../../measure/inspect/spectrum.ts";
import { openBase } from "../../base/named-base.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const Q = "model.layers.0.q_proj";
const UP = "model.layers.1.up_proj";
/** Odd sizes; the second is more than a block of rows. */
const LORA: TestLora = { r: 3, alpha: 6, seed: 1, modules: { [Q]: [37, 21], [UP]: [401, 18] } };
const SPARSE: TestAdapter = { r: 4, alpha: 64, seed: 2, modules: { [Q]: [37, 21], [UP]: [401, 18] }, size: 0.1 };
const ALL: DeltaChoice = { layers: [] };

async function unread(): Promise<never> {
  throw new Error("its ΔW does not depend on W");
}

/** A base of those modules, and an adapter that names it. */
async function written(folder: TemporaryFolder) {
  const base = folder.at("base.safetensors");
  await writeFile(base, safetensorsBytes({ [`${Q}.weight`]: numbers([37, 21]), [`${UP}.weight`]: numbers([401, 18]) }));
  const config = { base_model_name_or_path: base };
  const lora = await writeLora(folder.at("lora"), LORA);
  const sparse = await writeAdapter(folder.at("sparse"), SPARSE, { config });
  return { base, lora, sparse };
}

describe("ΔW in memory", () => {
  test("of a LoRA alone is scale · B·A, and its spectrum has its rank", async () => {
    await using folder = await TemporaryFolder.create();
    const { lora } = await written(folder);
    const before = gpu.memory.liveBytes;
    await using deltas = await openDeltas(gpu, lora, ALL);
    expect([deltas.isAlone, deltas.chosen]).toEqual([true, [0, 1]]);
    for (const index of deltas.chosen) {
      const { module, out, in: input } = deltas.layer(index);
      const { rows, cols, data } = await deltas.form(index);
      expect([rows, cols]).toEqual([out, input]);
      const wanted = loraDelta(LORA, module);
      const largest = Math.max(...wanted.map(Math.abs));
      wanted.forEach((value, at) => expect(Math.abs((data[at] ?? NaN) - value)).toBeLessThan(2e-6 * largest));
    }
    let done = 0;
    const found = await spectra(deltas, { module: () => {}, work: (some) => (done += some) });
    expect(found.map(({ module, numericalRank }) => [module, numericalRank])).toEqual([
      [Q, 3],
      [UP, 3],
    ]);
    // Without W nothing says what is new in W + ΔW.
    expect(found.map(({ intruders }) => intruders)).toEqual([undefined, undefined]);
    for (const { module, values, norm, effectiveRank } of found) {
      const wanted = loraDelta(LORA, module);
      const squares = wanted.reduce((sum, value) => sum + value * value, 0);
      expect(norm / Math.sqrt(squares)).toBeCloseTo(1, 5);
      // The squares of a matrix's singular values are those of its elements, together.
      expect(values.reduce((sum, value) => sum + value * value, 0) / squares).toBeCloseTo(1, 5);
      expect(effectiveRank).toBeGreaterThan(1);
      expect(effectiveRank).toBeLessThan(3.001);
    }
    expect(done).toBeGreaterThanOrEqual(0.99 * spectrumWork(deltas));
    expect(gpu.memory.liveBytes).toBeLessThanOrEqual(before + 64);
  });

  test("beside a base intruders are counted: directions that ΔW alone has", async () => {
    await using folder = await TemporaryFolder.create();
    const { base } = await written(folder);
    const count = async (alpha: number) => {
      const lora = await writeLora(folder.at(`lora-${alpha}`), { ...LORA, alpha });
      const choice = { ...ALL, base: async () => await openBase(base) };
      await using deltas = await openDeltas(gpu, lora, choice);
      let done = 0;
      const found = await spectra(deltas, { module: () => {}, work: (some) => (done += some) }, { intruders: true });
      expect(done / spectrumWork(deltas, true)).toBeCloseTo(1, 1);
      const weight = await deltas.weight(0);
      expect([weight?.rows, weight?.cols, weight?.data.length]).toEqual([37, 21, 37 * 21]);
      return found.map(({ intruders }) => intruders);
    };
    expect(await count(1e-6)).toEqual([0, 0]);
    const many = await count(6e4);
    expect(many.every((one = 0) => one > 0 && one <= 3)).toBe(true);
  });

  test("of a method whose shapes follow from the base is that of merge, with the base that it names", async () => {
    await using folder = await TemporaryFolder.create();
    const { base, sparse } = await written(folder);
    await using deltas = await openDeltas(gpu, sparse, { layers: [1] });
    expect([deltas.isAlone, deltas.chosen.length, deltas.layer(1).module]).toEqual([false, 1, UP]);
    await using adapter = await openAdapter(sparse);
    await using model = await openBase(base);
    const source = await planAdapter(adapter, model.base).load();
    const every = (count: number) => Array.from({ length: count }, (_, i) => i);
    const onto = new Float64Array(401 * 18);
    const sample = { rows: every(401), cols: every(18) };
    const wanted = await source.reference(1, 1, sample, { rows: 401, cols: 18, dtype: "F32", read: unread, onto });
    const { data } = await deltas.form(1);
    const largest = Math.max(...wanted.map(Math.abs));
    wanted.forEach((value, at) => expect(Math.abs((data[at] ?? NaN) - value)).toBeLessThan(4e-6 * largest));
  });
});

test("of a method that rescales W it is W' − W", async () => {
  await using folder = await TemporaryFolder.create();
  const { base } = await written(folder);
  const magnitude = Float32Array.from({ length: 37 }, (_, row) => 0.5 + row / 50);
  const one: TestLora = { ...LORA, modules: { [Q]: [37, 21] } };
  const path = await writeLora(folder.at("dora"), one, {
    config: { use_dora: true, base_model_name_or_path: base },
    tensors: { [`base_model.model.${Q}.lora_magnitude_vector`]: f32([37], magnitude) },
  });
  await using deltas = await openDeltas(gpu, path, ALL);
  const { data } = await deltas.form(0);
  const weight = new Float32Array(numbers([37, 21]).data.slice().buffer);
  const product = loraDelta(one, Q);
  for (let row = 0; row < 37; row++) {
    const sum = (col: number) => (weight[row * 21 + col] ?? NaN) + (product[row * 21 + col] ?? NaN);
    const norm = Math.sqrt(Array.from({ length: 21 }, (_, col) => sum(col) ** 2).reduce((a, b) => a + b));
    for (let col = 0; col < 21; col++) {
      const wanted = ((magnitude[row] ?? NaN) / norm) * sum(col) - (weight[row * 21 + col] ?? NaN);
      expect(Math.abs((data[row * 21 + col] ?? NaN) - wanted)).toBeLessThan(1e-6);
    }
  }
});

describe("distances", () => {
  test("from itself 0 and 1; from its negative 2 and −1; from something else as its numbers say", async () => {
    await using folder = await TemporaryFolder.create();
    const { lora } = await written(folder);
    const negative = await writeLora(folder.at("negative"), { ...LORA, alpha: -6 });
    const other = await writeLora(folder.at("other"), { ...LORA, seed: 9, modules: { [Q]: [37, 21] } });
    const compare = async (path: string) => {
      await using resources = new AsyncDisposableStack();
      const [one, two] = await openPair(gpu, [lora, path], ALL);
      for (const deltas of [one, two]) resources.use(deltas);
      return await compareDeltas(one, two, () => {});
    };
    const same = await compare(lora);
    expect(same.all.relative).toBe(0);
    expect(same.all.cosine).toBeCloseTo(1, 12);
    const turned = await compare(negative);
    expect([turned.all.relative, turned.all.cosine]).toEqual([expect.closeTo(2, 6), expect.closeTo(-1, 6)]);
    const { all, modules } = await compare(other);
    const [a, b] = [loraDelta(LORA, Q), loraDelta({ ...LORA, seed: 9, modules: { [Q]: [37, 21] } }, Q)];
    const dot = (x: Float64Array, y: Float64Array) => x.reduce((sum, value, i) => sum + value * (y[i] ?? 0), 0);
    const difference = a.map((value, i) => value - (b[i] ?? 0));
    expect(modules[0]).toEqual({
      module: Q,
      norm: expect.closeTo(Math.sqrt(dot(a, a)), 4),
      otherNorm: expect.closeTo(Math.sqrt(dot(b, b)), 4),
      relative: expect.closeTo(Math.sqrt(dot(difference, difference) / dot(a, a)), 4),
      cosine: expect.closeTo(dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)), 4),
    });
    // The other one does not adapt it.
    expect(modules[1]).toMatchObject({ module: UP, otherNorm: 0, relative: 1, cosine: null });
    expect(all.norm).toBeCloseTo(Math.hypot(...modules.map(({ norm }) => norm)), 5);
  });

  test("between methods both are fitted to the base that one of them needs", async () => {
    await using folder = await TemporaryFolder.create();
    const { base, lora, sparse } = await written(folder);
    await using resources = new AsyncDisposableStack();
    const [one, two] = await openPair(gpu, [lora, sparse], { ...ALL, base: () => openBase(base) });
    for (const deltas of [one, two]) resources.use(deltas);
    expect([one.isAlone, two.isAlone]).toEqual([false, false]);
    const { modules } = await compareDeltas(one, two, () => {});
    expect(modules.map(({ module }) => module)).toEqual([Q, UP]);
    const shorter = await writeLora(folder.at("shorter"), { ...LORA, modules: { [Q]: [36, 21] } });
    const [a, b] = await openPair(gpu, [lora, shorter], ALL);
    for (const deltas of [a, b]) resources.use(deltas);
    const refusal = await refusalOf(() => compareDeltas(a, b, () => {}));
    expect(refusal.message).toContain("has the shapes [37, 21] and [36, 21]");
  });
});

describe("refused, with nothing left on the GPU", () => {
  const NAN = { [`base_model.model.${Q}.lora_B.weight`]: f32([37, 3], new Float32Array(111).fill(NaN)) };
  const HUGE = {
    [`base_model.model.${Q}.lora_A.weight`]: f32([3, 21], new Float32Array(63).fill(3e38)),
    [`base_model.model.${Q}.lora_B.weight`]: f32([37, 3], new Float32Array(111).fill(3e38)),
  };
  test.each<[string, Parameters<typeof writeLora>[2], string]>([
    ["factors that hold NaN", { tensors: NAN }, "holds NaN"],
    ["a product beyond f32", { tensors: HUGE }, `ΔW of "${Q}" is not finite`],
  ])("%s", async (_, more, message) => {
    await using folder = await TemporaryFolder.create();
    const path = await writeLora(folder.at("a"), LORA, more);
    const before = gpu.memory.liveBytes;
    const refusal = await refusalOf(async () => {
      await using deltas = await openDeltas(gpu, path, ALL);
      await spectra(deltas, { module: () => {}, work: () => {} });
    });
    expect([refusal.code, refusal.message]).toEqual(["numeric", expect.stringContaining(message)]);
    expect(gpu.memory.liveBytes).toBe(before);
  });

  test("no base at hand, no module in the layers, one that is too large", async () => {
    await using folder = await TemporaryFolder.create();
    const sparse = await writeAdapter(folder.at("sparse"), SPARSE);
    const alone = await refusalOf(() => openDeltas(gpu, sparse, ALL));
    expect([alone.message, alone.hint]).toEqual([
      expect.stringContaining("it names none"),
      expect.stringContaining("--base"),
    ]);
    const lora = await writeLora(folder.at("lora"), LORA);
    expect((await refusalOf(() => openDeltas(gpu, lora, { layers: [7] }))).message).toContain("--layers 7");
    const large = await writeLora(folder.at("large"), { ...LORA, r: 1, modules: { "x.0.y": [40_000, 40_000] } });
    expect((await refusalOf(() => openDeltas(gpu, large, ALL))).message).toContain("too large to be looked at");
  });
});
