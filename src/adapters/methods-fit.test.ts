// What fitting refuses, of every method whose modules have tensors of their own: the same words for the same fault.
import { describe, expect, test } from "bun:test";
import type { JsonObject } from "../files/lossless-json.ts";
import { refusalOf, TemporaryFolder } from "../files/testing/folder.ts";
import type { BaseModel } from "./base/base.ts";
import { openPeft } from "./formats/peft.ts";
import { planAdapter } from "./methods.ts";
import { baseOf, numbers, type TestTensor, writeFolder } from "./testing/adapters.ts";

const [Q, UP] = ["model.layers.0.q_proj", "model.layers.0.up_proj"] as const;
const MODULES = { [Q]: [8, 8], [UP]: [12, 8] } as const;
const SHAPES = { [`${Q}.weight`]: [8, 8], [`${UP}.weight`]: [12, 8], "model.norm.weight": [8] };
const base = baseOf(SHAPES);

/** A method's settings, and the shapes of what it trains of a module (out, in), written down here once more. */
interface Fitted {
  readonly config: JsonObject;
  /** Its key of the rank, where it is not "r". */
  readonly rank?: string;
  readonly tensors: Readonly<Record<string, (out: number, input: number) => readonly number[]>>;
}

const LORA = {
  "lora_A.weight": (_: number, input: number) => [3, input],
  "lora_B.weight": (out: number) => [out, 3],
};
const METHODS: Readonly<Record<string, Fitted>> = {
  LoRA: { config: { peft_type: "LORA", r: 3 }, tensors: LORA },
  RandLoRA: {
    config: { peft_type: "RANDLORA", r: 3, save_projection: false },
    tensors: { randlora_lambda: () => [3, 3], randlora_gamma: () => [3, 8] },
  },
  VeRA: {
    config: { peft_type: "VERA", r: 5, save_projection: false },
    tensors: { vera_lambda_b: (out) => [out], vera_lambda_d: () => [5] },
  },
  KRAdapter: {
    config: { peft_type: "KRADAPTER", r: 2, alpha: 4 },
    tensors: { kradapter_U: () => [2, 8], kradapter_V: (out) => [out / 2, 8] },
  },
  MiSS: { config: { peft_type: "MISS", r: 3 }, tensors: { miss_block: (out) => [3, out] } },
  "MiSS's bat": {
    config: { peft_type: "MISS", r: 4, init_weights: "bat" },
    tensors: { miss_block: (out) => [out / 4, 4, 4] },
  },
  GraLoRA: {
    config: { peft_type: "GRALORA", r: 4 },
    tensors: { gralora_A: (_, input) => [2, input / 2, 4], gralora_B: (out) => [2, 4, out / 2] },
  },
  C3A: {
    config: { peft_type: "C3A", block_size: 4 },
    rank: "block_size",
    tensors: { c3a_kernel: (out, input) => [out / 4, input / 4, 4] },
  },
  HiRA: {
    config: { peft_type: "HIRA", r: 3 },
    tensors: { hira_A: (_, input) => [3, input], hira_B: (out) => [out, 3] },
  },
  SHiRA: {
    config: { peft_type: "SHIRA", r: 2 },
    tensors: {
      shira_weight: (out, input) => [2 * (out + input)],
      shira_indices: (out, input) => [2, 2 * (out + input)],
    },
  },
  DeLoRA: {
    config: { peft_type: "DELORA", r: 3 },
    tensors: {
      delora_A: (_, input) => [3, input],
      delora_B: (out) => [out, 3],
      delora_lambda: () => [1],
      delora_w_norm: (_, input) => [input],
    },
  },
  OFT: {
    config: { peft_type: "OFT", oft_block_size: 4 },
    rank: "oft_block_size",
    tensors: { "oft_R.weight": (_, input) => [input / 4, 6] },
  },
};

interface Change {
  readonly config?: JsonObject;
  /** Beside the method's own, or instead of them; undefined: without it. */
  readonly tensors?: Readonly<Record<string, TestTensor | undefined>>;
  readonly on?: BaseModel;
}

const PREFIX = "base_model.model.";

/** Fits the method's adapter of both modules, with changes. */
async function plan({ config, tensors }: Fitted, change: Change) {
  const own = Object.entries(MODULES).flatMap(([module, [out, input]]) =>
    Object.entries(tensors).map(([name, shape]) => [`${PREFIX}${module}.${name}`, numbers(shape(out, input))] as const),
  );
  const all = Object.entries({ ...Object.fromEntries(own), ...change.tensors });
  const kept = Object.fromEntries(all.flatMap(([name, tensor]) => (tensor === undefined ? [] : [[name, tensor]])));
  const settings = { ...config, target_modules: ["q_proj", "up_proj"], ...change.config };
  await using folder = await TemporaryFolder.create();
  await using adapter = await openPeft(await writeFolder(folder.at("a"), settings, kept));
  return planAdapter(adapter, change.on ?? base, { generator: "torch-mt19937-bf16-v2", amongOthers: true });
}

/** One tensor of the module Q in another way. */
const only = (name: string, tensor: TestTensor | undefined): Change => ({
  tensors: { [`${PREFIX}${Q}.${name}`]: tensor },
});

describe.each(Object.entries(METHODS))("%s", (_, method) => {
  const names = Object.keys(method.tensors);
  const every = Object.fromEntries(
    Object.keys(MODULES).flatMap((module) => names.map((name) => [`${PREFIX}${module}.${name}`, undefined])),
  );
  const refused = async (change: Change, code: string, message: string) => {
    const refusal = await refusalOf(() => plan(method, change));
    expect([refusal.code, refusal.message]).toEqual([code, expect.stringContaining(message)]);
    expect(refusal.message).not.toContain("\n");
    expect(refusal.hint).not.toBe("");
  };

  test("fits", async () => {
    const { layers, replacements } = await plan(method, {});
    const found = Object.fromEntries(layers.map(({ module, out, in: input }) => [module, [out, input]]));
    expect(found).toEqual({ [Q]: [8, 8], [UP]: [12, 8] });
    expect(replacements).toEqual([]);
  });

  test.each(names)("%s that is missing, or of another shape or type, is refused", async (name) => {
    const shape = method.tensors[name]?.(8, 8) ?? [];
    const other = names.find((one) => one !== name);
    // A module without any of its tensors is not adapted.
    if (other !== undefined) {
      await refused(only(name, undefined), "format", `"${Q}.${other}" has no ${name} beside it`);
    }
    for (const [axis, size] of shape.entries()) {
      const wrong = shape.with(axis, size + 1);
      const message = `"${Q}.${name}" has shape [${wrong.join(", ")}], but [${shape.join(", ")}] follows from "${Q}.weight" of base`;
      await refused(only(name, numbers(wrong)), "adapter", message);
    }
    for (const wrong of [[...shape, 1, 1], [0]]) {
      await refused(only(name, numbers(wrong)), "adapter", `has shape [${wrong.join(", ")}], but`);
    }
    const data = new Uint8Array(shape.reduce((product, size) => product * size, 1));
    await refused(only(name, { dtype: "I8", shape, data }), "adapter", "is I8, not a floating type");
  });

  test("another rank is refused", () => refused({ config: { [method.rank ?? "r"]: 1 } }, "adapter", "follows from"));

  test.each<[string, Change, string]>([
    ["no tensors", { tensors: every }, "of any module"],
    ["a stranger", { tensors: { [`${PREFIX}model.norm.weight`]: numbers([8]) } }, "belongs to no adapted"],
    ["a bias, with bias none", { tensors: { [`${PREFIX}${Q}.bias`]: numbers([8]) } }, "belongs to no"],
    [
      "targets that match none",
      { config: { target_modules: ["gate_proj"] } },
      "target_modules matches none of its modules",
    ],
    [
      "targets that miss one",
      { config: { target_modules: ["up_proj"] } },
      `it holds "${Q}", which target_modules does not`,
    ],
    ["default targets that miss one", { config: { target_modules: null } }, `it holds "${UP}", which target_modules`],
    ["a broken expression", { config: { target_modules: ".*(q_proj" } }, 'regular expression ".*(q_proj": missing )'],
    ["another model", { on: baseOf({ [`${Q}.weight`]: [8, 8] }) }, `module "${UP}" is not in base`],
    ["a quantized base", { on: { ...base, config: { quantization_config: {} } } }, "the base is quantized"],
    ["quantized weights", { on: baseOf(SHAPES, undefined, "I8") }, "is I8: quantized weights cannot be adapted"],
    [
      "weights of a quantizer",
      { on: baseOf({ [`${Q}.weight`]: [8, 8], [`${UP}.qweight`]: [12, 8] }) },
      `module "${UP}" of base has qweight for a weight: it is quantized`,
    ],
  ])("%s: refused", async (_, change, message) => refused(change, "adapter", message));
});
