// RandLoRA-b of the paper's table 3: half of the terms, on the first half of the bases that PEFT draws.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import type { Device } from "../../compute/device/device.ts";
import { padded4 } from "../../compute/device/families/delta.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { read } from "../../compute/device/transfer.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import { Run } from "../../compute/tensor/run.ts";
import { itemAt } from "../../files/item-at.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { openPeft } from "../formats/peft.ts";
import { planAdapter } from "../methods.ts";
import { baseOf, f32, type TestTensor, writeFolder } from "../testing/adapters.ts";
import { error, numbers } from "../testing/bases.ts";
import { convert, drawnTensors, everything } from "../testing/convert.ts";
import { MemoryStdCache } from "../testing/drawn-bases.ts";
import { rankOf } from "../testing/singular-values.ts";
import { UNREAD, unreadRows } from "../testing/weights.ts";
import { moduleBases, trainedNumbers } from "./plan.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const R = 3;
/** m = 20: seven bases, of which four are used; odd sizes, both orientations. */
const SHAPES = { q: [20, 20], up: [37, 20], k: [7, 20], v: [13, 20] } as const;
const BASE = baseOf(Object.fromEntries(Object.entries(SHAPES).map(([name, shape]) => [`${name}.weight`, shape])));
const CONFIG = { peft_type: "RANDLORA_HALF_RANK", r: R, randlora_alpha: 6, projection_prng_key: 5 };

interface Values {
  readonly lambda: Float32Array<ArrayBuffer>;
  readonly gamma: Float32Array<ArrayBuffer>;
}

function valuesOf([out, input]: readonly [number, number]): Values & { m: number; n: number } {
  const m = Math.min(out, input);
  const n = Math.ceil(m / (2 * R));
  return { m, n, lambda: numbers(R * n), gamma: numbers(n * m) };
}

function tensorsOf(values: Readonly<Record<string, ReturnType<typeof valuesOf>>>): Record<string, TestTensor> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, { m, n, lambda, gamma }]) => [
      [`base_model.model.${name}.randlora_lambda`, f32([R, n], lambda)],
      [`base_model.model.${name}.randlora_gamma`, f32([n, m], gamma)],
    ]),
  );
}

/** ΔW (out, in) from PEFT's own pair A (r, 1, min), B (max, ⌈min/r⌉, r), element by element. */
async function deltaOf(generator: GeneratorName, [out, input]: readonly [number, number], { lambda, gamma }: Values) {
  const sparsity = generator === "torch-mt19937-ternary" ? "sparse" : "dense";
  const spec = { generator, key: 5n, r: R, max: 37, min: 20, sparsity, grid: "f32" } as const;
  const pair = await drawnTensors(spec, new MemoryStdCache());
  const [a, b] = await Promise.all([pair.a, pair.b].map(async (one) => new Float32Array((await one.readAll()).buffer)));
  const [m, n, all] = [Math.min(out, input), Math.ceil(Math.min(out, input) / (2 * R)), Math.ceil(20 / R)];
  const delta = new Float64Array(out * input);
  for (let big = 0; big < Math.max(out, input); big++) {
    for (let small = 0; small < m; small++) {
      let sum = 0;
      for (let q = 0; q < n * R; q++) {
        const left = b?.[(big * all + Math.floor(q / R)) * R + (q % R)] ?? NaN;
        const [k, j] = [Math.floor(q / n), q % n];
        sum += left * itemAt(lambda, k * n + j) * (a?.[k * 20 + small] ?? NaN) * itemAt(gamma, j * m + small);
      }
      delta[out >= input ? big * input + small : small * input + big] = (6 / R) * sum;
    }
  }
  return delta;
}

test.each(["torch-mt19937-f32", "torch-mt19937-ternary", "philox-v1"] as const)(
  "ΔW of half of the terms, and its rank: %s",
  async (generator) => {
    await using folder = await TemporaryFolder.create();
    const values = Object.fromEntries(Object.entries(SHAPES).map(([name, shape]) => [name, valuesOf(shape)]));
    const config = { ...CONFIG, sparse: generator === "torch-mt19937-ternary", target_modules: Object.keys(SHAPES) };
    await using adapter = await openPeft(await writeFolder(join(folder.path, "a"), config, tensorsOf(values)));
    const plan = planAdapter(adapter, BASE, { generator });
    const source = await plan.load();
    using owner = new DisposableStack();
    const deltas = await source.upload(ownedBy(owner, gpu));
    for (const [index, { module, out, in: input }] of plan.layers.entries()) {
      const own = values[module];
      if (own === undefined) throw new Error(module);
      const want = await deltaOf(generator, [out, input], own);
      const every = (count: number) => Array.from({ length: count }, (_, at) => at);
      const reference = await source.reference(index, 1, { rows: every(out), cols: every(input) }, UNREAD);
      expect(error(reference, want)).toBeLessThan(1e-12);
      const layer = await deltas.layer(index, 1, UNREAD);
      const pitch = padded4(input);
      const target = gpu.memory.allocate("target", out * pitch * 4);
      using run = new Run(gpu);
      layer.form(run, { firstRow: 0, rows: out, pitch, target, ...unreadRows(target, input) });
      await run.submit();
      const formed = new Float32Array((await read(gpu, target)).buffer);
      const found = want.map((_, at) => itemAt(formed, Math.floor(at / input) * pitch + (at % input)));
      expect(error(found, want)).toBeLessThan(1e-5);
      layer.release();
      gpu.memory.release(target);
      // Twelve terms of twenty that full rank takes; of k, two bases make six. Zeros may leave fewer of so few.
      const [rank, terms] = [rankOf(want, out, input), { k: 6, v: 9 }[module] ?? 12];
      if (generator === "torch-mt19937-ternary") expect(rank).toBeWithin(terms - 3, terms + 1);
      else expect(rank).toBe(terms);
    }
  },
);

test("the number of bases, and of what is trained, is half of PEFT's, rounded up", () => {
  expect([20, 19, 7, 6, 1].map((m) => moduleBases(m, R, true))).toEqual([4, 4, 2, 1, 1]);
  expect(trainedNumbers(37, 20, R, true)).toBe(4 * (R + 20));
  expect(trainedNumbers(37, 20, R)).toBe(7 * (R + 20));
});

test("λ of all bases is refused; both formats hold the same", async () => {
  await using folder = await TemporaryFolder.create();
  const whole = { q: { m: 20, n: 7, lambda: numbers(R * 7), gamma: numbers(7 * 20) } };
  const config = { ...CONFIG, sparse: true, target_modules: ["q"] };
  await using wrong = await openPeft(await writeFolder(join(folder.path, "wrong"), config, tensorsOf(whole)));
  expect(() => planAdapter(wrong, BASE)).toThrow("has shape [3, 7], but [3, 4] follows from");

  const pair = await drawnTensors(
    { generator: "torch-mt19937-ternary", key: 5n, r: R, max: 37, min: 20, sparsity: "sparse", grid: "f32" },
    new MemoryStdCache(),
  );
  const saved = Object.fromEntries(
    await Promise.all(
      [pair.a, pair.b].map(async (one) => [one.name, f32(one.shape, new Float32Array((await one.readAll()).buffer))]),
    ),
  );
  const path = await writeFolder(join(folder.path, "a"), config, { ...saved, ...tensorsOf({ q: valuesOf([20, 20]) }) });
  await convert(path, { to: "json", out: folder.at("a.json") });
  await convert(folder.at("a.json"), { to: "peft", out: folder.at("back") });
  const [original, back] = [await everything(path), await everything(folder.at("back"))];
  expect(back.tensors).toEqual(original.tensors);
  expect(back.config).toEqual(original.config);
  expect(back.bases).toMatchObject({ generator: "torch-mt19937-ternary", pairing: "peft", max: 37, min: 20 });
});
