import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { Run } from "../../compute/tensor/run.ts";
import { roundFromF64, widenToF32 } from "../../files/safetensors/numbers.ts";
import { mapValues } from "../../files/map-values.ts";
import { memoryTensor } from "../files/tensors.ts";
import { error, numbers, placed, taken } from "../testing/bases.ts";
import { testFormula } from "../testing/formula.ts";
import { C3A } from "../formulas/c3a.ts";
import { HIRA } from "../formulas/hira.ts";
import { TEMPLATE } from "../testing/template-method.ts";
import { UNREAD, unreadRows } from "../testing/weights.ts";
import { untrainedAdapter } from "../method/train.ts";
import { formulaDeltas } from "./deltas.ts";
import { stridedWeight } from "./formula.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

testFormula(TEMPLATE, [
  [23, 10, 3],
  [10, 23, 8],
]);

test.each([
  [TEMPLATE, false],
  [TEMPLATE, true],
  [HIRA, false],
  [HIRA, true],
] as const)("ΔW of a stored weight is the reference's, whether the formula takes W or not", async (method, conv1d) => {
  const [out, input, r] = [21, 10, 3];
  const tensors = {
    a: memoryTensor("m.template_A", "F32", [r, input], new Uint8Array(numbers(r * input).buffer)),
    b: memoryTensor("m.template_B", "F32", [out, r], new Uint8Array(numbers(out * r).buffer)),
  };
  const shape = conv1d ? ([input, out] as const) : ([out, input] as const);
  const names = { module: "m", tensor: "m.weight", source: "m.weight" };
  const formula = method.formula({ out, in: input }, { r, own: { rank_pattern: {} } });
  const layer = { ...names, dtype: "F32", shape, out, in: input, conv1d, tensors, formula, scale: 0.5 } as const;
  const source = formulaDeltas(untrainedAdapter({}, Object.values(tensors)), [layer], method === HIRA);
  const stored = numbers(out * input);
  const read = async (at: number, rows: number) =>
    new Uint8Array(stored.slice(at * shape[1], (at + rows) * shape[1]).buffer);
  const own = { rows: shape[0], cols: shape[1], dtype: "F32", read, onto: new Float64Array() } as const;
  const weight = method === HIRA ? own : UNREAD;
  const live = gpu.memory.liveBytes;
  const delta = await (await source.upload(gpu)).layer(0, 3, weight);
  // Rows 4 … of the weight as it is stored, added.
  const [first, count] = [4, 5];
  const before = numbers(count * shape[1]);
  const target = placed(gpu, [count, shape[1]], before);
  const rows = placed(gpu, [count, shape[1]], stored.slice(first * shape[1]));
  const block = { firstRow: first, rows: count, target: target.buffer, pitch: target.pitch, accumulate: true };
  {
    using run = new Run(gpu);
    delta.form(run, { ...block, ...unreadRows(rows.buffer, shape[1]) });
    await run.submit();
  }
  const every = (size: number) => Array.from({ length: size }, (_, at) => at);
  const whole = await source.reference(0, 3, { rows: every(out), cols: every(input) }, weight);
  const wanted = before.map((value, at) => {
    const [row, col] = [first + Math.floor(at / shape[1]), at % shape[1]];
    return value + (whole[conv1d ? col * input + row : row * input + col] ?? NaN);
  });
  expect(error(await taken(gpu, target), wanted)).toBeLessThan(1e-6);
  for (const { buffer } of [target, rows]) gpu.memory.release(buffer);
  delta.release();
  expect(gpu.memory.liveBytes).toBe(live);
});

/** Numbers as they are stored in a dtype. */
function stored(values: ArrayLike<number>, dtype: "F16" | "BF16"): Float32Array {
  const bytes = new Uint8Array(values.length * 2);
  roundFromF64(Float64Array.from(values), dtype, bytes);
  const out = new Float32Array(values.length);
  widenToF32(bytes, dtype, out);
  return out;
}

test.each(["F16", "BF16"] as const)("what PEFT rounds to %s is rounded: B·A of HiRA, K of C3A", async (rounding) => {
  const [out, input, r] = [12, 20, 4];
  const every = Array.from({ length: out * input }, (_, at) => [Math.floor(at / input), at % input] as const);
  const values = { a: numbers(r * input), b: numbers(out * r), k: numbers((out * input) / r), w: numbers(out * input) };
  const place = (shape: readonly [number, number], of: ArrayLike<number>) => placed(gpu, shape, of);
  const [a, b, w] = [place([r, input], values.a), place([out, r], values.b), place([out, input], values.w)];
  const k = place([(out / r) * (input / r), r], values.k);
  const [rows, other] = [place([out, input], []), place([out, input], [])];
  const module = { out, in: input };
  const hira = HIRA.formula(module, { r, own: { rank_pattern: {} } });
  const c3a = C3A.formula(module, { r, own: { init_weights: true } });
  using run = new Run(gpu);
  hira.form(run, { a, b }, 1, { first: 0, rows, weight: stridedWeight(w), rounding }, false);
  c3a.form(run, { k }, 1, { first: 0, rows: other, rounding }, false);
  await run.submit();
  const product = stored(
    every.map(([row, col]) => hira.at(values, row, col, () => 1)),
    rounding,
  );
  const wanted = product.map((value, at) => value * (values.w[at] ?? NaN));
  expect(error(await taken(gpu, rows), wanted)).toBeLessThan(1e-6);
  const kernel = { k: stored(values.k, rounding) };
  expect(
    error(
      await taken(gpu, other),
      every.map(([row, col]) => c3a.at(kernel, row, col, () => NaN)),
    ),
  ).toBeLessThan(1e-6);
  for (const { buffer } of [a, b, w, k, rows, other]) gpu.memory.release(buffer);
});

test("ΔW of a weight that is stored (in, out) is rounded as each block asks for it", async () => {
  const [out, input, r] = [12, 20, 4];
  const values = { a: numbers(r * input), b: numbers(out * r) };
  const tensors = mapValues(values, (of, key) =>
    memoryTensor(`m.${key}`, "F32", key === "a" ? [r, input] : [out, r], new Uint8Array(of.buffer)),
  );
  const formula = HIRA.formula({ out, in: input }, { r, own: { rank_pattern: {} } });
  const shape = [input, out] as const;
  const names = { module: "m", tensor: "m.weight", source: "m.weight", dtype: "F32" } as const;
  const layer = { ...names, shape, out, in: input, conv1d: true, tensors, formula, scale: 1 };
  const ones = async () => new Uint8Array(new Float32Array(input * out).fill(1).buffer);
  const weight = { rows: input, cols: out, dtype: "F32", read: ones } as const;
  const source = formulaDeltas(untrainedAdapter({}, Object.values(tensors)), [layer], true);
  const delta = await (await source.upload(gpu)).layer(0, 1, weight);
  const target = placed(gpu, shape, []);
  const block = { firstRow: 0, rows: input, target: target.buffer, pitch: target.pitch };
  for (const rounding of ["BF16", "F32", "F16"] as const) {
    using run = new Run(gpu);
    delta.form(run, { ...block, ...unreadRows(target.buffer, out), rounding });
    await run.submit();
    const exact = Float64Array.from({ length: input * out }, (_, at) =>
      formula.at(values, at % out, Math.floor(at / out), () => 1),
    );
    const wanted = rounding === "F32" ? exact : stored(exact, rounding);
    expect(error(await taken(gpu, target), wanted), rounding).toBeLessThan(1e-6);
  }
  gpu.memory.release(target.buffer);
  delta.release();
});
