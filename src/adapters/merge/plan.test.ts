import { describe, expect, test } from "bun:test";
import { symlink } from "node:fs/promises";
import type { TestTensor } from "../testing/adapters.ts";
import { describeBase } from "../base/base.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { openAdapter } from "../formats/open.ts";
import { openPeft } from "../formats/peft.ts";
import { planAdapter } from "../methods.ts";
import { writeLora } from "../testing/lora.ts";
import type { Adapter } from "../files/adapter.ts";
import { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { type MergePlan, planMerge } from "./plan.ts";
import type { OutputDtype } from "../../files/safetensors/dtype.ts";
import { type Tensors, type TestAdapter, weights, writeAdapter, writeModel } from "./testing/models.ts";
import { TemporaryFolder, refusalOf } from "../../files/testing/folder.ts";

const TIED = { model_type: "llama", architectures: ["LlamaForCausalLM"], tie_word_embeddings: true };
const Q = "model.layers.0.self_attn.q_proj";
const BASE: Tensors = {
  "model.embed_tokens.weight": weights("BF16", [12, 8], 1),
  [`${Q}.weight`]: weights("BF16", [8, 8], 2),
  [`${Q}.bias`]: weights("BF16", [8], 3),
  "model.norm.weight": weights("F32", [8], 4),
  "model.steps": { dtype: "I64", shape: [1], data: new Uint8Array(8) },
};
const ADAPTER: TestAdapter = { r: 2, alpha: 4, seed: 1, modules: { [Q]: [8, 8] } };

interface Extra {
  readonly config?: JsonObject;
  readonly tensors?: Tensors;
  readonly adapter?: TestAdapter;
}

async function plan(
  extras: readonly Extra[],
  {
    dtype = "keep",
    config = TIED,
    tensors = BASE,
  }: { dtype?: OutputDtype; config?: JsonObject; tensors?: Tensors } = {},
): Promise<MergePlan> {
  await using folder = await TemporaryFolder.create();
  await using checkpoint = await Checkpoint.open(await writeModel(folder.at("base"), { tensors, config }));
  const base = describeBase(checkpoint, config);
  await using stack = new AsyncDisposableStack();
  const plans = [];
  for (const [index, { adapter = ADAPTER, ...extra }] of extras.entries()) {
    const opened = stack.use(await openPeft(await writeAdapter(folder.at(`adapter${index}`), adapter, extra)));
    plans.push(planAdapter(opened, base));
  }
  return planMerge(checkpoint, base, plans, dtype);
}

/** Of one adapter that is open. */
async function planOpened(
  adapter: Adapter,
  { config = TIED, tensors = BASE }: { config?: JsonObject; tensors?: Tensors } = {},
): Promise<MergePlan> {
  await using folder = await TemporaryFolder.create();
  await using checkpoint = await Checkpoint.open(await writeModel(folder.at("base"), { tensors, config }));
  const base = describeBase(checkpoint, config);
  return planMerge(checkpoint, base, [planAdapter(adapter, base)], "keep");
}

function summary({ tensors }: MergePlan): [name: string, kind: string, dtype: string][] {
  return tensors.map(({ name, work, dtype }) => [name, work.kind, dtype]);
}

const saved = (name: string, tensor: TestTensor): Extra => ({
  config: { modules_to_save: [name.split(".").at(-2) ?? ""] },
  tensors: { [`base_model.model.${name}`]: tensor },
});

describe("what becomes of each tensor", () => {
  test("adapted weights are merged, all others copied, in the base's order", async () => {
    const made = await plan([{}]);
    expect(summary(made)).toEqual([
      ["model.embed_tokens.weight", "copy", "BF16"],
      [`${Q}.weight`, "merge", "BF16"],
      [`${Q}.bias`, "copy", "BF16"],
      ["model.norm.weight", "copy", "F32"],
      ["model.steps", "copy", "I64"],
    ]);
    expect([made.merged, made.untied]).toEqual([1, false]);
  });

  test("--dtype converts what floats and has another dtype, and nothing else", async () => {
    const made = await plan([{}], { dtype: "f32" });
    expect(summary(made)).toEqual([
      ["model.embed_tokens.weight", "convert", "F32"],
      [`${Q}.weight`, "merge", "F32"],
      [`${Q}.bias`, "convert", "F32"],
      ["model.norm.weight", "copy", "F32"],
      ["model.steps", "copy", "I64"],
    ]);
  });

  test("several adapters of one weight are merged into it in the order given", async () => {
    const made = await plan([{}, { adapter: { ...ADAPTER, seed: 2 } }]);
    const work = made.tensors.find(({ name }) => name === `${Q}.weight`)?.work;
    expect(work?.kind === "merge" ? work.deltas.map(({ adapter }) => adapter) : []).toEqual([0, 1]);
    expect(made.merged).toBe(1);
  });

  test("a saved module takes the place of the base's, in the base's dtype", async () => {
    const made = await plan([saved("model.norm.weight", weights("BF16", [8], 9))]);
    expect(summary(made)).toContainEqual(["model.norm.weight", "convert", "F32"]);
  });

  test("a saved module that the base does not have comes last, as it was saved", async () => {
    const made = await plan([saved("score.weight", weights("F32", [3, 8], 9))]);
    expect(summary(made).at(-1)).toEqual(["score.weight", "convert", "F32"]);
    expect([made.untied, made.notes]).toEqual([false, [expect.stringContaining('brings "score.weight", which ')]]);
  });

  test("F64 weights are merged only into another dtype", async () => {
    const tensors = { ...BASE, [`${Q}.weight`]: weights("F64", [8, 8], 2) };
    expect((await refusalOf(() => plan([{}], { tensors }))).message).toEndWith(
      `tensor "${Q}.weight" is F64, which weights are not merged in`,
    );
    const made = await plan([{}], { tensors, dtype: "bf16" });
    expect(summary(made)).toContainEqual([`${Q}.weight`, "merge", "BF16"]);
  });

  test("an adapter that is given twice is refused, by whatever names", async () => {
    await using folder = await TemporaryFolder.create();
    await using checkpoint = await Checkpoint.open(
      await writeModel(folder.at("base"), { tensors: BASE, config: TIED }),
    );
    const base = describeBase(checkpoint, TIED);
    await writeAdapter(folder.at("run/best"), ADAPTER);
    await symlink(folder.at("run"), folder.at("link"));
    await writeAdapter(folder.at("copy"), ADAPTER);
    await writeAdapter(folder.at("stronger"), { ...ADAPTER, alpha: ADAPTER.alpha * 2 });
    await using stack = new AsyncDisposableStack();
    const open = async (name: string) => planAdapter(stack.use(await openAdapter(folder.at(name))), base);
    const run = await open("run");
    for (const [again, says] of [
      ["run", "the adapter is given twice"],
      ["run/best/adapter_config.json", "are the same adapter"],
      ["link", "are the same adapter"],
      ["copy", "are the same adapter"],
    ] as const) {
      const plans = [run, await open(again)];
      const refusal = await refusalOf(async () => planMerge(checkpoint, base, plans, "keep"));
      expect([refusal.code, refusal.message]).toEqual(["usage", expect.stringContaining(says)]);
    }
    expect(planMerge(checkpoint, base, [run, await open("stronger")], "keep").merged).toBe(1);
  });

  test("two adapters cannot both replace one tensor", async () => {
    const extra = saved("model.norm.weight", weights("F32", [8], 9));
    const refusal = await refusalOf(() => plan([extra, { ...extra, adapter: { ...ADAPTER, seed: 2 } }]));
    expect(refusal.code).toBe("adapter");
    expect(refusal.message).toMatch(/adapter0 and .*adapter1 both replace tensor "model\.norm\.weight"$/);
  });
});

describe("a tied output embedding", () => {
  const head: TestAdapter = { ...ADAPTER, modules: { [Q]: [8, 8], lm_head: [12, 8] } };

  test("that is adapted becomes a tensor of its own; the input embedding stays", async () => {
    const made = await plan([{ adapter: head }]);
    expect(summary(made)[0]).toEqual(["model.embed_tokens.weight", "copy", "BF16"]);
    expect(summary(made).at(-1)).toEqual(["lm_head.weight", "merge", "BF16"]);
    expect([made.merged, made.untied]).toEqual([2, true]);
    const work = made.tensors.at(-1)?.work;
    expect(work?.kind === "merge" ? work.source.label : "").toEndWith(': "model.embed_tokens.weight"');
  });

  test("keeps the old values when the input embedding is replaced", async () => {
    const made = await plan([saved("model.embed_tokens.weight", weights("BF16", [12, 8], 9))]);
    expect(summary(made)[0]).toEqual(["model.embed_tokens.weight", "convert", "BF16"]);
    expect(summary(made).at(-1)).toEqual(["lm_head.weight", "convert", "BF16"]);
    const work = made.tensors.at(-1)?.work;
    expect(work?.kind === "convert" ? work.source.label : "").toMatch(
      /model\.safetensors: "model\.embed_tokens\.weight"$/,
    );
    expect(made.untied).toBe(true);
  });

  // PEFT 0.21.2 saves both, equal; it loads whichever the file has into one parameter.
  test.each([[["embed_tokens"]], [["lm_head"]], [["embed_tokens", "lm_head"]]])(
    "stays tied where the adapter says so: %j",
    async (modules) => {
      const saving = modules.map((module, index) => {
        const name = module === "lm_head" ? module : `model.${module}`;
        return [`base_model.model.${name}.weight`, weights("BF16", [12, 8], 9 + index)] as const;
      });
      await using folder = await TemporaryFolder.create();
      const path = await writeLora(
        folder.at("lora"),
        { r: 2, alpha: 2, seed: 1, modules: { [Q]: [8, 8] } },
        { config: { ensure_weight_tying: true, modules_to_save: modules }, tensors: Object.fromEntries(saving) },
      );
      await using adapter = await openPeft(path);
      const label = `model.${modules[0]}.weight`.replace("model.lm_head", "lm_head");

      const tied = await planOpened(adapter);
      expect(
        summary(tied)
          .map(([name, kind]) => [name, kind])
          .slice(0, 2),
      ).toEqual([
        ["model.embed_tokens.weight", "convert"],
        [`${Q}.weight`, "merge"],
      ]);
      const work = tied.tensors[0]?.work;
      expect(work?.kind === "convert" ? work.source.label : "").toEndWith(`: "${label}"`);
      expect([tied.tensors.length, tied.untied]).toEqual([5, false]);

      const stored = { ...BASE, "lm_head.weight": weights("BF16", [12, 8], 1) };
      const both = await planOpened(adapter, { tensors: stored });
      expect(summary(both).at(-1)).toEqual(["lm_head.weight", "convert", "BF16"]);
      const untied = await planOpened(adapter, { tensors: stored, config: { ...TIED, tie_word_embeddings: false } });
      expect(summary(untied).filter(([, kind]) => kind === "convert")).toHaveLength(modules.length);
    },
  );

  test("of BERT's kind takes its trained bias along", async () => {
    const tensors = {
      "bert.embeddings.word_embeddings.weight": weights("BF16", [12, 8], 1),
      "cls.predictions.bias": weights("BF16", [12], 2),
    };
    const module = "cls.predictions.decoder";
    const bias = { "base_model.model.cls.predictions.bias": weights("BF16", [12], 9) };
    const extra: Extra = {
      config: { bias: "all" },
      tensors: bias,
      adapter: { ...ADAPTER, modules: { [module]: [12, 8] } },
    };
    const made = await plan([extra], { tensors, config: { architectures: ["BertForMaskedLM"] } });
    expect(summary(made).slice(2)).toEqual([
      [`${module}.weight`, "merge", "BF16"],
      [`${module}.bias`, "convert", "BF16"],
    ]);
    const work = made.tensors.at(-1)?.work;
    expect(work?.kind === "convert" && work.source.fromAdapter).toBe(true);
    expect([made.untied, made.notes]).toEqual([true, []]);
  });

  test("is replaced by one that the adapter saved", async () => {
    const made = await plan([saved("lm_head.weight", weights("BF16", [12, 8], 9))]);
    expect(summary(made).at(-1)).toEqual(["lm_head.weight", "convert", "BF16"]);
    expect(made.untied).toBe(true);
  });

  test("that is stored beside its twin is untied once either of them changes", async () => {
    const tensors = { ...BASE, "lm_head.weight": weights("BF16", [12, 8], 1) };
    const config = TIED;
    expect((await plan([{ adapter: head }], { tensors, config })).untied).toBe(true);
    const extra = saved("model.embed_tokens.weight", weights("BF16", [12, 8], 9));
    expect((await plan([extra], { tensors, config })).untied).toBe(true);
    expect((await plan([{}], { tensors, config })).untied).toBe(false);
    expect(
      (await plan([{ adapter: head }], { tensors, config: { ...config, tie_word_embeddings: false } })).untied,
    ).toBe(false);
  });

  test("is nothing that an untied model, or one without a head, has", async () => {
    const extra = saved("model.embed_tokens.weight", weights("BF16", [12, 8], 9));
    for (const config of [
      { ...TIED, tie_word_embeddings: false },
      { ...TIED, architectures: ["LlamaModel"] },
    ]) {
      const made = await plan([extra], { config });
      expect([made.tensors.length, made.untied]).toEqual([5, false]);
    }
  });
});
