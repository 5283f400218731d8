import { describe, expect, test } from "bun:test";
import { baseOf } from "../testing/adapters.ts";
import { isConv1d, linearModules } from "./base.ts";

const matrix = [8, 8];

test("linear layers are matrices that are no embeddings", () => {
  const names = ["model.embed_tokens.weight", "model.norm.weight", "model.layers.0.q.weight", "model.layers.0.q.bias"];
  const base = baseOf(Object.fromEntries(names.map((name) => [name, name.includes("norm") ? [8] : matrix])));
  expect(linearModules(base)).toEqual(["model.layers.0.q"]);
});

describe("Conv1D is known", () => {
  test("from GPT-2's names", () => {
    const base = baseOf({}, { model_type: "gpt2" });
    expect(isConv1d("h.0.attn.c_attn", base, false)).toBe(true);
    expect(isConv1d("lm_head", base, true)).toBe(false);
  });
  test("from the biases of a file without config.json, whatever PEFT saved", () => {
    const square = { "h.0.attn.c_proj.weight": [8, 8], "h.0.attn.c_proj.bias": [8] };
    const lone = (shape: readonly number[]) => ({
      ...baseOf({ ...square, "h.0.attn.c_attn.weight": shape, "h.0.attn.c_attn.bias": [24] }),
      config: undefined,
    });
    const [gpt2, bigcode] = [lone([8, 24]), lone([24, 8])];
    for (const module of ["h.0.attn.c_attn", "h.0.attn.c_proj"]) {
      expect(isConv1d(module, gpt2, false)).toBe(true);
      expect(isConv1d(module, bigcode, true)).toBe(false);
    }
    expect(isConv1d("lm_head", gpt2, false)).toBe(false);
  });
  test("elsewhere from what PEFT settled", () => {
    const base = baseOf({}, undefined);
    expect(isConv1d("h.0.attn.c_attn", base, true)).toBe(true);
    expect(isConv1d("h.0.attn.c_attn", base, false)).toBe(false);
    expect(isConv1d("lm_head", base, true)).toBe(false);
  });
});
