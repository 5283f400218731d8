import { describe, expect, test } from "bun:test";
import type { BaseModel } from "../base/base.ts";
import { RandloraError } from "../../files/errors.ts";
import { untie, type Untying } from "./heads.ts";

/** A base of two-dimensional F32 weights and one-dimensional biases. */
function base(
  architecture: string,
  names: readonly string[],
  config: Readonly<Record<string, unknown>> = {},
): BaseModel {
  const info = (name: string) => ({ dtype: "F32" as const, shape: name.endsWith(".bias") ? [12] : [12, 8] });
  return {
    path: "base",
    tensors: new Map(names.map((name) => [name, info(name)])),
    config: { architectures: [architecture], ...config },
  };
}

function untying(of: BaseModel, changes: { adapted?: readonly string[]; replaced?: readonly string[] }): Untying {
  return untie(of, { adapted: new Set(changes.adapted), replaced: new Set(changes.replaced) });
}

const twins = ({ twins: all }: Untying) => all.map(({ tensor, source, values }) => [tensor, source, values]);

describe("a replaced input embedding leaves the tied head with the old values", () => {
  test.each([
    ["GPT2LMHeadModel", "transformer.wte.weight", "lm_head.weight"],
    ["GPT2LMHeadModel", "wte.weight", "lm_head.weight"],
    ["BloomForCausalLM", "transformer.word_embeddings.weight", "lm_head.weight"],
    ["GPTNeoXForCausalLM", "gpt_neox.embed_in.weight", "embed_out.weight"],
    ["OPTForCausalLM", "model.decoder.embed_tokens.weight", "lm_head.weight"],
    ["LlamaForCausalLM", "model.embed_tokens.weight", "lm_head.weight"],
    ["Gemma4ForConditionalGeneration", "model.language_model.embed_tokens.weight", "lm_head.weight"],
    ["Qwen3_5ForConditionalGeneration", "model.language_model.embed_tokens.weight", "lm_head.weight"],
  ])("%s: %s", (architecture, embedding, head) => {
    const found = untying(base(architecture, [embedding]), { replaced: [embedding] });
    expect(twins(found)).toEqual([[head, embedding, "old"]]);
    expect([found.untied, found.notes]).toEqual([true, []]);
  });

  test("together with its bias, where the model holds that twice", () => {
    const names = ["bert.embeddings.word_embeddings.weight", "cls.predictions.bias"] as const;
    const found = untying(base("BertForMaskedLM", names), { replaced: [names[0]] });
    expect(twins(found)).toEqual([
      ["cls.predictions.decoder.weight", names[0], "old"],
      ["cls.predictions.decoder.bias", "cls.predictions.bias", "new"],
    ]);
  });

  test.each([
    ["a model without a head", base("LlamaModel", ["embed_tokens.weight"]), "embed_tokens.weight"],
    ["a classifier", base("BertForSequenceClassification", ["x.word_embeddings.weight"]), "x.word_embeddings.weight"],
    [
      "an untied model",
      base("GPT2LMHeadModel", ["transformer.wte.weight"], { tie_word_embeddings: false }),
      "transformer.wte.weight",
    ],
  ])("but not in %s", (_, of, embedding) => {
    expect(untying(of, { replaced: [embedding] })).toEqual({ twins: [], untied: false, notes: [] });
  });

  test("where nothing tells what is tied, a note does", () => {
    const found = untying(base("T5ForConditionalGeneration", ["shared.weight"]), { replaced: ["shared.weight"] });
    expect(found).toEqual({ twins: [], untied: false, notes: [expect.stringContaining('"shared.weight"')] });
    expect(found.notes[0]).toContain("T5ForConditionalGeneration");
  });
});

test("of a file without config.json nobody knows whether its embedding is tied: a note says so", () => {
  const names = ["model.embed_tokens.weight"];
  const lone = { ...base("", names), config: undefined };
  const { untied, notes } = untying(lone, { replaced: names });
  expect([untied, notes]).toEqual([
    false,
    ['tensor "model.embed_tokens.weight" is replaced: what is tied to it changes with it'],
  ]);
  const headed = { ...base("", [...names, "lm_head.weight"]), config: undefined };
  expect(untying(headed, { replaced: names }).notes).toEqual([]);
});

describe("an adapted head", () => {
  test("of RoBERTa takes its bias along: untied, transformers looks for both", () => {
    const names = ["roberta.embeddings.word_embeddings.weight", "lm_head.bias", "lm_head.dense.weight"];
    const of = base("RobertaForMaskedLM", names);
    const found = untying(of, { adapted: ["lm_head.decoder.weight"] });
    expect(twins(found)).toEqual([["lm_head.decoder.bias", "lm_head.bias", "new"]]);
    expect(found.untied).toBe(true);
    const own = untying(of, { adapted: ["lm_head.decoder.weight"], replaced: ["lm_head.decoder.bias"] });
    expect(twins(own)).toEqual([]);
  });

  test("of a T5 is refused: untying would change how its outputs are scaled", () => {
    const of = (tied?: boolean) =>
      base("T5ForConditionalGeneration", ["shared.weight"], { model_type: "t5", tie_word_embeddings: tied });
    const adapted = { adapted: ["lm_head.weight"] };
    expect(() => untying(of(), adapted)).toThrow(RandloraError);
    expect(() => untying(of(true), adapted)).toThrow("base: the output embedding would no longer be tied");
    expect(untying(of(), { adapted: ["decoder.block.0.layer.0.SelfAttention.q.weight"] }).untied).toBe(false);
    const untied = base("T5ForConditionalGeneration", ["shared.weight", "lm_head.weight"], {
      model_type: "t5",
      tie_word_embeddings: false,
    });
    expect(untying(untied, adapted).untied).toBe(false);
  });
});
