import { describe, expect, test } from "bun:test";
import { refusalOf } from "../../files/testing/folder.ts";
import { type Dtype, dtypeBytes } from "../../files/safetensors/dtype.ts";
import type { AdapterTensor } from "../files/adapter.ts";
import type { LayerSettings } from "../base/config-keys.ts";
import { memoryTensor } from "../files/tensors.ts";
import { fitAdapter, trainedModules, type TrainedTensors, unusedGenerator } from "./fit.ts";
import { baseOf } from "../testing/adapters.ts";
import { untrainedAdapter } from "./train.ts";

type Config = LayerSettings & { readonly r: number };

/** A method that trains U (out, r) and a vector V (in) of each module. */
const TOY: TrainedTensors<Pick<Config, "r">, "u" | "v"> = {
  names: { u: "toy_u", v: "toy_v" },
  shapes: ({ r }, { out, in: input }) => ({ u: [out, r], v: [input] }),
  meaning: "U is (out, r) and V (in)",
};

const BASE = baseOf({ "m.q.weight": [6, 4], "m.k.weight": [2, 4], "m.norm.weight": [4], "m.q.bias": [6] }, {});

function configOf(changed: Partial<LayerSettings> = {}, modules: readonly string[] = ["q", "k"]): Config {
  const rules = { exclude: [], modulesToSave: [], layers: [], layersPattern: [] };
  return { r: 3, fanInFanOut: false, modulesToSave: [], bias: false, targets: { modules, ...rules }, ...changed };
}

function tensor(name: string, shape: readonly number[], dtype: Dtype = "F32"): AdapterTensor {
  const count = shape.reduce((product, size) => product * size, 1);
  return memoryTensor(name, dtype, shape, new Uint8Array(count * dtypeBytes(dtype)));
}

const Q = [tensor("m.q.toy_u", [6, 3]), tensor("m.q.toy_v", [4])];
const K = [tensor("m.k.toy_u", [2, 3]), tensor("m.k.toy_v", [4])];

function fit(tensors: readonly AdapterTensor[], { config = configOf(), base = BASE } = {}) {
  return fitAdapter(untrainedAdapter({}, tensors), base, config, TOY);
}

test("modules come in the order of their first tensors, each with its weight and its own tensors", () => {
  const { layers, replacements } = fit([...K.slice(1), ...Q, ...K.slice(0, 1)]);
  expect(replacements).toEqual([]);
  expect(layers.map(({ module, tensor: weight, out, in: input }) => [module, weight, out, input])).toEqual([
    ["m.q", "m.q.weight", 6, 4],
    ["m.k", "m.k.weight", 2, 4],
  ]);
  expect(layers.map(({ tensors: { u, v } }) => [u.name, v.name])).toEqual([
    ["m.q.toy_u", "m.q.toy_v"],
    ["m.k.toy_u", "m.k.toy_v"],
  ]);
});

test("of a weight that is stored (in, out) ΔW is (out, in)", () => {
  const base = baseOf({ "m.c_attn.weight": [4, 6] });
  const config = configOf({ fanInFanOut: true }, ["c_attn"]);
  const own = [tensor("m.c_attn.toy_u", [6, 3]), tensor("m.c_attn.toy_v", [4])];
  expect(fit(own, { config, base }).layers).toMatchObject([{ out: 6, in: 4, conv1d: true, shape: [4, 6] }]);
});

test("a prefix that the base lacks is found, and stays in the names of modules", () => {
  const { layers, shift } = fit([...Q, ...K], { base: baseOf({ "q.weight": [6, 4], "k.weight": [2, 4] }, {}) });
  expect(shift).toMatchObject({ drop: "m.", add: "" });
  expect(layers.map(({ module, tensor: weight }) => [module, weight])).toEqual([
    ["m.q", "q.weight"],
    ["m.k", "k.weight"],
  ]);
});

test("modules may be named by the method: none of its tensors is asked for", () => {
  const nothing: TrainedTensors<Config, never> = { names: {}, shapes: () => ({}), meaning: "" };
  const shared = untrainedAdapter({}, [tensor("shared", [9])]);
  const modules = [{ module: "m.k", tensors: {} }];
  const isOwn = (name: string) => name === "shared";
  const { layers } = fitAdapter(shared, BASE, configOf({}, ["k"]), nothing, { isOwn, modules });
  expect(layers).toMatchObject([{ module: "m.k", out: 2, in: 4, tensors: {} }]);
  expect(() => fitAdapter(shared, BASE, configOf({}, ["k"]), nothing, { modules })).toThrow('"shared" belongs to no');
});

test("what replaces the base's tensors is found beside the method's own", () => {
  const tensors = [...Q, ...K, tensor("m.norm.weight", [4]), tensor("m.q.bias", [6])];
  const config = configOf({ modulesToSave: ["norm"], bias: true });
  const { replacements } = fit(tensors, { config });
  expect(replacements.map((one) => [one.tensor, one.exists])).toEqual([
    ["m.norm.weight", true],
    ["m.q.bias", true],
  ]);
});

describe("refused with the reason", () => {
  test.each<[string, readonly AdapterTensor[], Parameters<typeof fit>[1], code: string, message: string, hint: string]>(
    [
      ["half a module", [...Q, ...K.slice(0, 1)], {}, "format", '"m.k.toy_u" has no toy_v beside it', "save it again"],
      ["no module", [tensor("m.norm.weight", [4])], {}, "adapter", "no toy_u of any module", "before it was trained"],
      ["what nothing explains", [...Q, tensor("odd", [1])], {}, "adapter", '"odd" belongs to no', "mixes two adapters"],
      ["integers", [tensor("m.q.toy_u", [6, 3], "I8"), ...Q.slice(1)], {}, "adapter", "is I8, not a floating", "f32"],
      [
        "a quantized base",
        Q,
        { base: baseOf({}, { quantization_config: {} }) },
        "adapter",
        "is quantized",
        "original checkpoint",
      ],
      ["a module that is not targeted", [...Q, ...K], { config: configOf({}, ["q"]) }, "adapter", '"m.k"', "one save"],
      [
        "a shape that follows from another model",
        [tensor("m.q.toy_u", [7, 3]), ...Q.slice(1)],
        {},
        "adapter",
        '"m.q.toy_u" has shape [7, 3], but [6, 3] follows from "m.q.weight" of base with [6, 4]',
        "U is (out, r) and V (in): the adapter was made for another model",
      ],
      ["a shard", [tensor("m.q.toy_u", [0]), ...Q.slice(1)], {}, "adapter", "has shape [0]", "must be gathered"],
      ["a convolution", [tensor("m.q.toy_u", [6, 3, 1]), ...Q.slice(1)], {}, "adapter", "[6, 3, 1]", "no convolutions"],
    ],
  )("%s", async (_, tensors, given, code, message, hint) => {
    const refusal = await refusalOf(() => fit(tensors, given));
    expect(refusal).toMatchObject({ code, message: expect.stringContaining(message) });
    expect(refusal.hint).toContain(hint);
  });
});

test("modules are listed without a base, too", () => {
  const found = trainedModules(untrainedAdapter({}, [...K, ...Q]), TOY);
  expect(found.map(({ module }) => module)).toEqual(["m.k", "m.q"]);
});

test("a --generator that is not needed is told of, unless it is meant for another adapter", () => {
  const adapter = untrainedAdapter({}, []);
  const [note] = unusedGenerator(adapter, { generator: "philox-v1" }, "toy");
  expect(note).toBe("the new adapter is a toy: --generator has no effect");
  expect(unusedGenerator(adapter, {}, "toy")).toEqual([]);
  expect(unusedGenerator(adapter, { generator: "philox-v1", amongOthers: true }, "toy")).toEqual([]);
});
