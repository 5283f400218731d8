import { describe, expect, test } from "bun:test";
import { JsonNumber } from "../../files/lossless-json.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import type { BaseModel } from "../base/base.ts";
import { planAdapter } from "../methods.ts";
import { openPeft } from "../formats/peft.ts";
import { baseOf, f32, numbers } from "../testing/adapters.ts";
import { COEFFICIENTS, type PrancChanges, type TestPranc, writePranc } from "../testing/pranc.ts";
import { planPranc } from "./plan.ts";

const Q = "model.layers.0.q_proj";
const UP = "model.layers.0.up_proj";
const PRANC: TestPranc = {
  seed: 2n ** 63n + 1n,
  alpha: 1.5,
  coefficients: [1, -2, 0.5],
  modules: { [UP]: [12, 7], [Q]: [7, 7] },
};
const SHAPES = {
  "model.embed_tokens.weight": [64, 7],
  [`${Q}.weight`]: [7, 7],
  [`${UP}.weight`]: [12, 7],
  "model.norm.weight": [7],
};
const base = baseOf(SHAPES);

interface Case extends PrancChanges {
  readonly on?: BaseModel;
  readonly generator?: GeneratorName;
  readonly amongOthers?: boolean;
}

async function opened<T>(more: PrancChanges, use: (path: string) => Promise<T>) {
  await using folder = await TemporaryFolder.create();
  return await use(await writePranc(folder.at("a"), PRANC, more));
}

const plan = (one: Case) =>
  opened(one, async (path) => {
    await using adapter = await openPeft(path);
    const { on = base, generator, amongOthers } = one;
    return {
      of: planAdapter(adapter, on, { generator, amongOthers }),
      own: planPranc(adapter, on, { amongOthers: true }),
    };
  });

test("layers in the order of the record, each with its place in the bases, and what else the file replaces", async () => {
  const tensors = {
    [COEFFICIENTS]: f32([3], [1, 2, 3]),
    "base_model.model.model.norm.weight": numbers([7]),
  };
  const { of, own } = await plan({ tensors, config: { modules_to_save: ["norm"] } });
  expect(own.layers.map(({ module, out, in: input, offset }) => [module, out, input, offset])).toEqual([
    [UP, 12, 7, 0],
    [Q, 7, 7, 96],
  ]);
  for (const { scale } of own.layers) expect(scale).toBeCloseTo(1.5 / Math.sqrt(3) / Math.sqrt(7), 12);
  expect(own.record.seed).toBe(2n ** 63n + 1n);
  expect(of.replacements.map(({ tensor }) => tensor)).toEqual(["model.norm.weight"]);
  expect([of.bases, of.notes]).toEqual(["philox-v1", []]);
});

test("--generator is for the other adapters, if it is another one", async () => {
  expect((await plan({ generator: "philox-v1" })).of.layers.length).toBe(2);
  expect((await plan({ generator: "torch-mt19937-f32", amongOthers: true })).of.layers.length).toBe(2);
});

const only = (modules: readonly unknown[]) => ({ bases: { modules: modules as never } });
const q = { module: Q, shape: [7, 7] };

describe("refused with the reason and a hint", () => {
  test.each<[string, Case, string, string]>([
    ["no record", { bases: null }, "format", "does not record its bases"],
    ["another generator", { bases: { generator: "torch-mt19937-f32" } }, "format", '"bases.generator"'],
    ["another seed", { bases: { seed: 4 } }, "adapter", "philox-v1 does not draw the bases that it records"],
    ["a seed of too many bits", { bases: { seed: new JsonNumber("18446744073709551616") } }, "format", '"bases.seed"'],
    ["no modules", only([]), "format", "it must name the adapted modules"],
    ["a module twice", only([q, q]), "format", `names "${Q}" twice`],
    ["a shape of three", only([{ module: Q, shape: [7, 7, 1] }]), "format", '"bases.modules.0.shape'],
    ["a shape of nothing", only([{ module: Q, shape: [7, 0] }]), "format", '"bases.modules.0.shape.1" is 0'],
    [
      "more elements than a double counts",
      only([1, 2, 3].map((at) => ({ module: `m.${at}`, shape: [2 ** 31, 2 ** 31] }))),
      "format",
      "more than 2^53 elements",
    ],
    ["no coefficients", { tensors: { "base_model.model.x": numbers([1]) } }, "format", 'no "pranc_coefficients"'],
    ["too few coefficients", { tensors: { [COEFFICIENTS]: numbers([2]) } }, "adapter", "[2], but num_bases is 3"],
    ["a matrix of them", { tensors: { [COEFFICIENTS]: numbers([1, 3]) } }, "adapter", "[1, 3], but num_bases is 3"],
    [
      "whole numbers",
      { tensors: { [COEFFICIENTS]: { dtype: "I32", shape: [3], data: new Uint8Array(12) } } },
      "adapter",
      "I32, not a floating type",
    ],
    ["num_bases 0", { config: { num_bases: 0 } }, "format", '"num_bases" is 0: it must be a positive integer'],
    ["too many bases", { config: { num_bases: 2 ** 21 } }, "format", "it must be at most 1048576"],
    ["no alpha", { config: { pranc_alpha: "much" } }, "format", '"pranc_alpha"'],
    ["targets of another model", { config: { target_modules: ["fc"] } }, "adapter", "matches none of its modules"],
    ["a missing module", { on: baseOf({ ...SHAPES, [`${UP}.weight`]: [12, 7, 1] }) }, "adapter", `up_proj`],
    [
      "another shape",
      { on: baseOf({ ...SHAPES, [`${UP}.weight`]: [7, 12] }) },
      "adapter",
      `for "${UP}" as (12, 7), but "${UP}.weight" of base is (7, 12)`,
    ],
    ["a quantized base", { on: baseOf(SHAPES, { quantization_config: {} }) }, "adapter", "the base is quantized"],
    ["another --generator", { generator: "torch-mt19937-f32" }, "usage", "records that philox-v1 drew its bases"],
    [
      "a tensor of another method",
      { tensors: { [COEFFICIENTS]: numbers([3]), [`base_model.model.${Q}.lora_A.weight`]: numbers([1, 7]) } },
      "adapter",
      "belongs to no adapted or saved module",
    ],
  ])("%s", async (_, one, code, message) => {
    const refusal = await refusalOf(() => plan(one));
    expect([refusal.code, refusal.message]).toEqual([code, expect.stringContaining(message)]);
    expect(refusal.message).not.toContain("\n");
    expect(refusal.hint).toBeTruthy();
  });

  test("coefficients that are no numbers, when they are read", async () => {
    const tensors = { [COEFFICIENTS]: f32([3], [1, NaN, 2]) };
    const refusal = await opened({ tensors }, async (path) => {
      await using adapter = await openPeft(path);
      return await refusalOf(() => planAdapter(adapter, base).load());
    });
    expect([refusal.code, refusal.message]).toEqual(["numeric", expect.stringContaining("holds NaN")]);
  });
});
