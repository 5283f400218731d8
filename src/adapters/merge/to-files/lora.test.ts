// LoRA in merges, alone and beside RandLoRA.
import { expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { type TestLora, loraDelta, writeLora } from "../../testing/lora.ts";
import type { WritableFloatDtype } from "../../../files/safetensors/dtype.ts";
import { merge } from "./run.ts";
import type { MergeOptions } from "./options.ts";
import {
  deltaOf,
  distance,
  readModel,
  rounded,
  slackOf,
  type Tensors,
  weights,
  widened,
  writeAdapter,
  writeModel,
} from "../testing/models.ts";
import { ADAPTER, LAYER, modelOf, MODULES, Notes, OPTIONS } from "../testing/merge.ts";
import { TemporaryFolder, refusalOf } from "../../../files/testing/folder.ts";

const Q = `${LAYER}.self_attn.q_proj`;
const UP = `${LAYER}.mlp.up_proj`;
const LORA: TestLora = { r: 4, alpha: 0.5, seed: 1, modules: MODULES, ranks: { [UP]: 7 } };
const SECOND: TestLora = { r: 20, alpha: 1, seed: 2, modules: { [Q]: [37, 37] } };

const signal = new AbortController().signal;

interface Order {
  readonly dtype: "F32" | "F16" | "BF16";
  readonly adapters: readonly ("lora" | "second" | "randlora")[];
  readonly options?: Partial<MergeOptions>;
}

async function mergeLora({ dtype, adapters, options = {} }: Order): Promise<{ tensors: Tensors; notes: Notes }> {
  await using folder = await TemporaryFolder.create();
  const base = await writeModel(folder.at("base"), { tensors: modelOf(dtype) });
  const paths = {
    lora: await writeLora(folder.at("lora"), LORA),
    second: await writeLora(folder.at("second"), SECOND, { config: { use_rslora: true } }),
    randlora: await writeAdapter(folder.at("randlora"), ADAPTER),
  };
  const notes = new Notes();
  const all = { ...OPTIONS, base, adapters: adapters.map((name) => paths[name]), out: folder.at("out"), ...options };
  const { out, bases } = await merge(all, notes, signal);
  expect(bases).toEqual(adapters.map((name) => (name === "randlora" ? "torch-mt19937-ternary" : "none")));
  return { tensors: await readModel(out), notes };
}

/** ΔW of an adapter for a module in f64; zeros where it has none. */
function deltaFor(name: Order["adapters"][number], module: keyof typeof MODULES, dtype: Order["dtype"]): Float64Array {
  const [out, input] = MODULES[module];
  if (name === "lora") return loraDelta(LORA, module);
  if (name === "randlora") return deltaOf(ADAPTER, module, ({ F32: "f32", F16: "f16", BF16: "bf16" } as const)[dtype]);
  return module === Q ? loraDelta(SECOND, module, 1 / Math.sqrt(20)) : new Float64Array(out * input);
}

const round = (values: Float64Array, dtype: WritableFloatDtype) => widened({ dtype, data: rounded(values, dtype) });

test.each<Order>([
  { dtype: "F32", adapters: ["lora"] },
  { dtype: "BF16", adapters: ["lora"] },
  { dtype: "F16", adapters: ["lora", "second"] },
  { dtype: "F32", adapters: ["randlora", "lora", "second"] },
  { dtype: "BF16", adapters: ["lora", "randlora", "second"] },
])("W + Σ ΔW, rounded once: %j", async ({ dtype, adapters }) => {
  const scales = [1, -2, 0.5].slice(0, adapters.length);
  const { tensors } = await mergeLora({ dtype, adapters, options: { scales } });
  const model: Tensors = modelOf(dtype);
  for (const [name, before] of Object.entries(model)) {
    const module = Object.keys(MODULES).find((one) => `${one}.weight` === name) as keyof typeof MODULES | undefined;
    const after = tensors[name] ?? before;
    if (module === undefined) {
      expect(after).toEqual({ ...after, ...before });
      continue;
    }
    const deltas = adapters.map((one, i) => deltaFor(one, module, dtype).map((value) => value * (scales[i] ?? 1)));
    const sum = widened(before).map((value, at) => deltas.reduce((all, delta) => all + (delta[at] ?? NaN), value));
    const found = distance(widened(after), round(sum, dtype), dtype, slackOf(...deltas));
    expect(found.worst).toBeLessThanOrEqual(1);
    if (dtype !== "F32") expect(found.off).toBeLessThanOrEqual(0.005 * sum.length);
  }
});

test("--rounding peft: after each adapter, and LoRA's ΔW not before, as PEFT has it", async () => {
  const { tensors } = await mergeLora({
    dtype: "BF16",
    adapters: ["lora", "randlora", "second"],
    options: { rounding: "peft" },
  });
  const before = widened(modelOf("BF16")[`${Q}.weight`] ?? weights("BF16", [1], 1));
  const add = (values: Float64Array, delta: Float64Array) =>
    round(
      values.map((value, at) => value + (delta[at] ?? NaN)),
      "BF16",
    );
  const first = add(before, deltaFor("lora", Q, "BF16"));
  const second = add(first, round(deltaFor("randlora", Q, "BF16"), "BF16"));
  const third = add(second, deltaFor("second", Q, "BF16"));
  const found = widened(tensors[`${Q}.weight`] ?? weights("BF16", [1], 1));
  expect(found.length).toBe(third.length);
  expect(found.filter((value, at) => value !== third[at]).length).toBeLessThanOrEqual(0.005 * third.length);
});

test("--unmerge takes it back", async () => {
  await using folder = await TemporaryFolder.create();
  const base = await writeModel(folder.at("base"), { tensors: modelOf("F32") });
  const adapters = [await writeLora(folder.at("lora"), LORA)];
  const there = await merge({ ...OPTIONS, base, adapters, out: folder.at("there") }, new Notes(), signal);
  const options = { ...OPTIONS, base: there.out, adapters, out: folder.at("back"), unmerge: true };
  const { out } = await merge(options, new Notes(), signal);
  const [found, want] = [await readModel(out), await readModel(base)];
  const values = widened(found[`${UP}.weight`] ?? weights("F32", [1], 1));
  widened(want[`${UP}.weight`] ?? weights("F32", [1], 1)).forEach((value, at) => {
    expect(Math.abs((values[at] ?? NaN) - value)).toBeLessThan(1e-7);
  });
});

test("weights above one block, as GPT-2 stores them: the seams do not show", async () => {
  await using folder = await TemporaryFolder.create();
  const module = "h.0.mlp.c_fc";
  // 600 rows of 1000 f32 numbers: more than a block of 2 MiB, and no whole number of tiles.
  const weight = weights("F32", [600, 1000], 1);
  const model = { tensors: { [`${module}.weight`]: weight }, config: { model_type: "gpt2" } };
  const lora: TestLora = { r: 6, alpha: 1, seed: 3, modules: { [module]: [1000, 600] } };
  const adapters = [await writeLora(folder.at("lora"), lora, { config: { fan_in_fan_out: true } })];
  const base = await writeModel(folder.at("base"), model);
  const { out, merged } = await merge({ ...OPTIONS, base, adapters, out: folder.at("out") }, new Notes(), signal);
  expect(merged).toBe(1);
  const delta = loraDelta(lora, module);
  const want = widened(weight).map((value, at) => value + (delta[(at % 1000) * 600 + Math.floor(at / 1000)] ?? NaN));
  const found = widened((await readModel(out))[`${module}.weight`] ?? weight);
  expect(distance(found, round(want, "F32"), "F32", slackOf(delta)).worst).toBeLessThanOrEqual(1);
});

test("an adapter that is refused leaves nothing behind", async () => {
  await using folder = await TemporaryFolder.create();
  const base = await writeModel(folder.at("base"), { tensors: modelOf("F32") });
  const adapters = [await writeLora(folder.at("lora"), LORA, { config: { use_qalora: true } })];
  const refusal = await refusalOf(() =>
    merge({ ...OPTIONS, base, adapters, out: folder.at("out") }, new Notes(), signal),
  );
  expect(refusal.message).toContain(join("lora", "adapter_config.json"));
  expect((await readdir(folder.path)).toSorted()).toEqual(["base", "lora"]);
});
