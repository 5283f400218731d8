// LoRA of all experts of a layer as PEFT has it (ParamWrapper): by its einsum, "o r e, e r i -> e o i".
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { itemAt } from "../../files/item-at.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import type { BaseModel } from "../base/base.ts";
import { expertParameters } from "../base/experts.ts";
import { openPeft } from "../formats/peft.ts";
import { formDelta } from "../merge/in-memory/deltas.ts";
import { planAdapter } from "../methods.ts";
import { baseOf, f32, type TestTensor, writeFolder } from "../testing/adapters.ts";
import { UNREAD } from "../testing/weights.ts";
import { expertsOfB, storedB } from "./experts.ts";

let gpu: Device;
let folder: TemporaryFolder;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
});
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

const [EXPERTS, INNER, WIDTH] = [3, 8, 12];
const PATH = "model.layers.0.mlp.experts";
const WRAPPED = `base_model.model.${PATH}`;
const each = (shape: readonly number[], ...names: readonly string[]) =>
  names.flatMap((name) =>
    Array.from(
      { length: EXPERTS },
      (_, expert) => [`model.layers.0.block_sparse_moe.experts.${expert}.${name}.weight`, shape] as const,
    ),
  );
const APART = baseOf(Object.fromEntries([...each([INNER, WIDTH], "w1", "w3"), ...each([WIDTH, INNER], "w2")]), {
  model_type: "mixtral",
});
const FUSED = baseOf(
  { [`${PATH}.gate_up_proj`]: [EXPERTS, 2 * INNER, WIDTH], [`${PATH}.down_proj`]: [EXPERTS, WIDTH, INNER] },
  { model_type: "mixtral" },
);

const values = (count: number, salt: number) =>
  Float32Array.from({ length: count }, (_, at) => Math.sin(at * 1.3 + salt));
/** Both parameters, of which gate_up_proj has rank 2 instead of 3. */
const SIZES = { gate_up_proj: [2, 2 * INNER, WIDTH], down_proj: [3, WIDTH, INNER] } as const;
const factors = (name: keyof typeof SIZES) => {
  const [r, out, input] = SIZES[name];
  return { r, out, input, a: values(r * EXPERTS * input, out), b: values(out * r * EXPERTS, input) };
};

async function open(name: string, parameters: readonly string[], more: object = {}) {
  const tensors: Record<string, TestTensor> = {};
  const wrapped = { gate_up_proj: `${WRAPPED}${parameters.length > 1 ? ".base_layer" : ""}`, down_proj: WRAPPED };
  for (const parameter of ["gate_up_proj", "down_proj"] as const) {
    if (!parameters.some((one) => one.endsWith(parameter))) continue;
    const { r, out, input, a, b } = factors(parameter);
    tensors[`${wrapped[parameter]}.lora_A.weight`] = f32([r * EXPERTS, input], a);
    tensors[`${wrapped[parameter]}.lora_B.weight`] = f32([out, r * EXPERTS], b);
  }
  const ranks = { "experts.gate_up_proj": 2 };
  const config = {
    peft_type: "LORA",
    r: 3,
    lora_alpha: 6,
    rank_pattern: ranks,
    target_modules: [],
    target_parameters: [...parameters],
    ...more,
  };
  return await openPeft(await writeFolder(folder.at(name), config, tensors));
}

/** ΔW of all rows of both parameters, by their names. */
function expected(name: keyof typeof SIZES): number[] {
  const { r, out, input, a, b } = factors(name);
  return Array.from({ length: EXPERTS * out * input }, (_, at) => {
    const [expert, row, col] = [Math.floor(at / (out * input)), Math.floor(at / input) % out, at % input];
    let sum = 0;
    for (let k = 0; k < r; k++) {
      sum += itemAt(b, (row * r + k) * EXPERTS + expert) * itemAt(a, (expert * r + k) * input + col);
    }
    return (6 / r) * sum;
  });
}

/** gpt-oss's experts, which have biases: (in, out). */
const BIASES = { [`${PATH}.gate_up_proj_bias`]: [EXPERTS, 2 * INNER], [`${PATH}.down_proj_bias`]: [EXPERTS, WIDTH] };
const TURNED = baseOf(
  {
    ...Object.fromEntries(
      Array.from({ length: EXPERTS }, (_, expert) => [
        [`${PATH}.${expert}.gate_up_proj.weight`, [WIDTH, 2 * INNER]],
        [`${PATH}.${expert}.down_proj.weight`, [INNER, WIDTH]],
      ]).flat(),
    ),
    ...BIASES,
  },
  { model_type: "gpt_oss" },
);

/** The numbers of matrices (rows, cols), as those of their transposes. */
function turned(matrices: readonly number[], rows: number, cols: number): number[] {
  return matrices.map((_, at) => {
    const [matrix, row, col] = [Math.floor(at / (rows * cols)), at % rows, Math.floor(at / rows) % cols];
    return itemAt(matrices, (matrix * rows + row) * cols + col);
  });
}

test.each([
  ["tensors of all experts", FUSED, 2],
  ["tensors of each", APART, 9],
  ["transposed tensors of each", TURNED, 6],
] as const)("ΔW of %s is PEFT's", async (kind, base: BaseModel, count) => {
  await using adapter = await open(`adapter of ${kind}`, ["experts.gate_up_proj", "experts.down_proj"]);
  const plan = planAdapter(adapter, base, {});
  expect(plan.layers.length).toBe(count);
  const source = await plan.load();
  const onGpu = await source.upload(gpu);
  const found = { gate_up_proj: [] as number[], down_proj: [] as number[] };
  for (const [index, layer] of plan.layers.entries()) {
    const { data } = await formDelta(gpu, { plan, factor: 1, deltas: onGpu }, undefined, index);
    const all = (size: number) => Array.from({ length: size }, (_, at) => at);
    const reference = await source.reference(index, 1, { rows: all(layer.out), cols: all(layer.in) }, UNREAD);
    const formed = layer.conv1d ? turned([...data], layer.in, layer.out) : data;
    reference.forEach((value, at) => expect(Math.abs(itemAt(formed, at) - value)).toBeLessThan(1e-5));
    const isUp = layer.in === WIDTH;
    found[isUp ? "gate_up_proj" : "down_proj"].push(...reference);
  }
  for (const name of ["gate_up_proj", "down_proj"] as const) {
    const wanted = expected(name);
    expect([kind, found[name].length]).toEqual([kind, wanted.length]);
    wanted.forEach((value, at) => expect(Math.abs(itemAt(found[name], at) - value)).toBeLessThan(1e-12));
  }
});

test("one parameter alone is wrapped by itself", async () => {
  await using adapter = await open("alone", [`${PATH}.gate_up_proj`]);
  expect(planAdapter(adapter, FUSED, {}).layers.map(({ tensor }) => tensor)).toEqual([`${PATH}.gate_up_proj`]);
});

test("what does not fit is refused by name", async () => {
  await using adapter = await open("of no model", ["experts.down_proj"]);
  const lone = baseOf({ [`${PATH}.down_proj`]: [EXPERTS, INNER, WIDTH], ...BIASES });
  expect(await refusalOf(() => planAdapter(adapter, lone, {}))).toMatchObject({
    message: expect.stringContaining("its experts are stored transposed"),
  });
  await using other = await open("other", ["experts.down_proj"], { r: 4 });
  expect(await refusalOf(() => planAdapter(other, FUSED, {}))).toMatchObject({
    message: expect.stringContaining("[12, 8] follows from"),
  });
  await using half = await open("half", ["experts.down_proj"], {
    target_parameters: ["experts.gate_up_proj", "experts.down_proj"],
  });
  expect(await refusalOf(() => planAdapter(half, FUSED, {}))).toMatchObject({
    message: expect.stringContaining("no factors"),
  });
});

test("experts that are not all there, or not alike, are no parameter", () => {
  const name = (expert: number) => `model.layers.0.mlp.experts.${expert}.down_proj.weight`;
  expect(expertParameters(baseOf({ [name(99_999)]: [4, 8] }))).toEqual([]);
  expect(expertParameters(baseOf({ [name(0)]: [4, 8], [name(1)]: [4, 12] }))).toEqual([]);
  expect(expertParameters(baseOf({ [name(0)]: [4, 8], [name(1)]: [4, 8] }))).toHaveLength(1);
});

test("B by experts, and back", () => {
  const sizes = { experts: 3, out: 4, rank: 2 };
  const given = Float32Array.from({ length: 24 }, (_, at) => at);
  const byExperts = expertsOfB(given, sizes);
  expect([...byExperts.subarray(0, 4)]).toEqual([0, 3, 6, 9]);
  expect(storedB(byExperts, sizes)).toEqual(given);
});
