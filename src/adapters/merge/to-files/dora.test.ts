// DoRA, and RandLoRA with magnitudes, in merges: alone, and among other adapters.
import { expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { type TestLora, loraDelta, writeLora } from "../../testing/lora.ts";
import { magnitudeOf, magnitudeTensors, rescaled, writeDora } from "../../testing/magnitudes.ts";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import type { WritableFloatDtype } from "../../../files/safetensors/dtype.ts";
import { merge } from "./run.ts";
import type { MergeOptions } from "./options.ts";
import {
  deltaOf,
  distance,
  readModel,
  rounded,
  type Tensors,
  weights,
  widened,
  writeAdapter,
  writeModel,
} from "../testing/models.ts";
import type { FloatGrid } from "../../../compute/random/names.ts";
import { finishSteps } from "../../frozen/drawing/bases.ts";
import { RANDLORA_BASES } from "../../randlora/bases.ts";
import { MemoryStdCache } from "../../testing/drawn-bases.ts";
import { ADAPTER, LAYER, modelOf, MODULES, Notes, OPTIONS } from "../testing/merge.ts";

const Q = `${LAYER}.self_attn.q_proj`;
const UP = `${LAYER}.mlp.up_proj`;
const DORA: TestLora = { r: 4, alpha: 0.5, seed: 1, modules: MODULES, ranks: { [UP]: 7 } };
const LORA: TestLora = { r: 20, alpha: 1, seed: 2, modules: { [Q]: [37, 37] } };

const GRIDS = { F32: "f32", F16: "f16", BF16: "bf16" } as const;
const signal = new AbortController().signal;
const round = (values: Float64Array, dtype: WritableFloatDtype) => widened({ dtype, data: rounded(values, dtype) });

type Name = "dora" | "lora" | "randdora";

interface Order {
  readonly dtype: "F32" | "F16" | "BF16";
  readonly adapters: readonly Name[];
  readonly options?: Partial<MergeOptions>;
}

/** Merges into a folder, with `--verify`, and reads that back. */
async function merged({ dtype, adapters, options = {} }: Order): Promise<Tensors> {
  await using folder = await TemporaryFolder.create();
  const base = await writeModel(folder.at("base"), { tensors: modelOf(dtype) });
  const paths = {
    dora: await writeDora(folder.at("dora"), DORA),
    lora: await writeLora(folder.at("lora"), LORA),
    randdora: await writeAdapter(folder.at("randdora"), ADAPTER, {
      config: { peft_type: "RANDLORA_DORA" },
      tensors: magnitudeTensors(MODULES, "randlora_magnitude_vector"),
      metadata: recordOf(GRIDS[dtype]),
    }),
  };
  const all = { ...OPTIONS, base, adapters: adapters.map((name) => paths[name]), out: folder.at("out"), ...options };
  return await readModel((await merge(all, new Notes(), signal)).out);
}

/** The record of the bases, which says their pairing: magnitudes over either have the same peft_type. */
function recordOf(dtype: FloatGrid): Record<string, string> {
  const modules = Object.values(MODULES).map(([out, input]) => ({ out, in: input }));
  const drawn = { generator: "torch-mt19937-ternary", dtype, ...RANDLORA_BASES.sizesFor(modules) } as const;
  const config = { key: BigInt(ADAPTER.seed), r: ADAPTER.r, sparsity: "sparse" } as const;
  const print = finishSteps(RANDLORA_BASES.print(drawn, config, new MemoryStdCache()));
  return { randlora_bases: JSON.stringify(RANDLORA_BASES.format(RANDLORA_BASES.record(drawn, print, config))) };
}

/** What an adapter makes of `onto`, in f64: norms are those of W. */
function applied(
  name: Name,
  module: keyof typeof MODULES,
  dtype: Order["dtype"],
  scale: number,
  w: Float64Array,
  onto: Float64Array,
): Float64Array {
  if (name === "lora" && module !== Q) return onto;
  const plain =
    name === "randdora" ? deltaOf(ADAPTER, module, GRIDS[dtype]) : loraDelta(name === "dora" ? DORA : LORA, module);
  const delta = plain.map((value) => scale * value);
  if (name === "lora") return onto.map((value, at) => value + (delta[at] ?? NaN));
  return rescaled(magnitudeOf(module, MODULES[module][0]), w, delta, onto);
}

test.each<Order>([
  { dtype: "F32", adapters: ["dora"] },
  { dtype: "BF16", adapters: ["dora"] },
  { dtype: "F16", adapters: ["randdora"] },
  { dtype: "F32", adapters: ["randdora", "lora", "dora"] },
  { dtype: "BF16", adapters: ["lora", "dora", "randdora"] },
])("c · (W + ΔW), adapter after adapter, rounded once: %j", async ({ dtype, adapters }) => {
  const scales = [0.8, -0.5, 1].slice(0, adapters.length);
  const tensors = await merged({ dtype, adapters, options: { scales } });
  const model: Tensors = modelOf(dtype);
  for (const [name, before] of Object.entries(model)) {
    const module = Object.keys(MODULES).find((one) => `${one}.weight` === name) as keyof typeof MODULES | undefined;
    const after = tensors[name] ?? before;
    if (module === undefined) {
      expect(after).toEqual({ ...after, ...before });
      continue;
    }
    const w = widened(before);
    const want = adapters.reduce((onto, one, i) => applied(one, module, dtype, scales[i] ?? 1, w, onto), w);
    const slack = 2e-6 * want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const found = distance(widened(after), round(want, dtype), dtype, slack);
    expect(found.worst).toBeLessThanOrEqual(1);
    if (dtype !== "F32") expect(found.off).toBeLessThanOrEqual(0.01 * want.length);
  }
});

test("--rounding peft: after each adapter, the norms those of the base as it was", async () => {
  const adapters = ["lora", "dora", "randdora"] as const;
  const tensors = await merged({ dtype: "BF16", adapters, options: { rounding: "peft" } });
  const w = widened(modelOf("BF16")[`${Q}.weight`] ?? weights("BF16", [1], 1));
  const want = adapters.reduce((onto, one) => round(applied(one, Q, "BF16", 1, w, onto), "BF16"), w);
  const found = widened(tensors[`${Q}.weight`] ?? weights("BF16", [1], 1));
  expect(found.filter((value, at) => value !== want[at]).length).toBeLessThanOrEqual(0.01 * want.length);
});

test("a norm across several blocks of rows, as GPT-2 stores weights", async () => {
  await using folder = await TemporaryFolder.create();
  const module = "h.0.mlp.c_fc";
  // 600 rows of 1000 f32 numbers: more than a block of 2 MiB, and no whole number of tiles.
  const weight = weights("F32", [600, 1000], 1);
  const base = await writeModel(folder.at("base"), {
    tensors: { [`${module}.weight`]: weight },
    config: { model_type: "gpt2" },
  });
  const lora: TestLora = { r: 6, alpha: 1, seed: 3, modules: { [module]: [1000, 600] } };
  const adapters = [await writeDora(folder.at("dora"), lora, { config: { fan_in_fan_out: true } })];
  const { out, maxErrorUlp } = await merge({ ...OPTIONS, base, adapters, out: folder.at("out") }, new Notes(), signal);
  expect(maxErrorUlp).toBeLessThan(64);
  const stored = widened(weight);
  const w = stored.map((_, at) => stored[(at % 600) * 1000 + Math.floor(at / 600)] ?? NaN);
  const want = rescaled(magnitudeOf(module, 1000), w, loraDelta(lora, module));
  const found = widened((await readModel(out))[`${module}.weight`] ?? weight);
  const worst = want.reduce((most, value, at) => {
    return Math.max(most, Math.abs((found[(at % 600) * 1000 + Math.floor(at / 600)] ?? NaN) - value));
  }, 0);
  expect(worst).toBeLessThan(2e-6 * want.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
});

test("--unmerge is refused with the reason, and leaves nothing behind", async () => {
  await using folder = await TemporaryFolder.create();
  const base = await writeModel(folder.at("base"), { tensors: modelOf("F32") });
  const adapters = [await writeDora(folder.at("dora"), DORA)];
  const options = { ...OPTIONS, base, adapters, out: folder.at("out"), unmerge: true };
  const refusal = await refusalOf(() => merge(options, new Notes(), signal));
  expect([refusal.code, refusal.message]).toEqual([
    "adapter",
    expect.stringContaining("its ΔW depends on the original weights"),
  ]);
  expect((await readdir(folder.path)).toSorted()).toEqual(["base", "dora"]);
});
