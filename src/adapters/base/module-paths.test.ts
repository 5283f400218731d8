import { describe, expect, test } from "bun:test";
import { baseOf } from "../testing/adapters.ts";
import { findShift, findWeight, shiftPath, unshiftPath } from "./module-paths.ts";

const matrix = [8, 8];

describe("the adapter's paths and the checkpoint's", () => {
  const modules = ["model.layers.0.q", "model.layers.1.q", "lm_head"];
  const cases: readonly (readonly [name: string, tensors: readonly string[], shifted: string])[] = [
    ["agree", ["model.layers.0.q", "model.layers.1.q"], "model.layers.1.q"],
    ["the base lacks a prefix", ["layers.0.q", "layers.1.q"], "layers.1.q"],
    ["the base has one more", ["text.model.layers.0.q", "text.model.layers.1.q"], "text.model.layers.1.q"],
  ];
  for (const [name, tensors, shifted] of cases) {
    test(name, () => {
      const base = baseOf(Object.fromEntries(tensors.map((module) => [`${module}.weight`, matrix])));
      const shift = findShift(modules, base, "adapter");
      expect(shiftPath("model.layers.1.q", shift)).toBe(shifted);
      expect(unshiftPath(shifted, shift)).toBe("model.layers.1.q");
      expect(findWeight("model.layers.1.q", shift, base, "adapter").tensor).toBe(`${shifted}.weight`);
    });
  }

  test("a prefix must do for all modules", () => {
    const base = baseOf({ "layers.0.q.weight": matrix });
    expect(() => findShift(modules, base, "adapter")).toThrow('adapter: module "model.layers.0.q" is not in base');
  });

  test("two that would do are an error that names both", () => {
    const base = baseOf({ "encoder.q.weight": matrix, "decoder.q.weight": matrix });
    expect(() => findShift(["q"], base, "adapter")).toThrow('"q" could be "encoder.q" and "decoder.q" of base');
  });

  test.each([
    ["language_model.model", "language_model.lm_head", "vision_tower"],
    ["model", "lm_head", "visual"],
  ])("a language model among others is found at %s, its head at %s, the other part at %s", (text, head, image) => {
    const [first, second, other] = [`${text}.layers.0.q`, `${text}.layers.1.q`, `${image}.layers.0.q`] as const;
    const names = [first, second, other, head, `${text}.embed_tokens`];
    const base = baseOf(Object.fromEntries(names.map((name) => [`${name}.weight`, matrix])));
    const modules = ["model.language_model.layers.0.q", "model.language_model.layers.1.q"];
    for (const adapted of [modules, ["lm_head", ...modules], [`model.${image}.layers.0.q`, ...modules]]) {
      const shift = findShift(adapted, base, "adapter");
      const found = adapted.map((module) => findWeight(module, shift, base, "adapter").source);
      expect(found.slice(-2)).toEqual([`${first}.weight`, `${second}.weight`]);
      if (adapted.length > 2) expect(found[0]).toBe(adapted[0] === "lm_head" ? `${head}.weight` : `${other}.weight`);
      expect(found.map((name) => unshiftPath(name.replace(/\.weight$/, ""), shift))).toEqual(adapted);
    }
  });

  test("a module that is missing among others that are there is named", () => {
    const base = baseOf({ "model.layers.0.q.weight": matrix });
    const shift = findShift(modules, base, "adapter");
    expect(() => findWeight("model.layers.1.q", shift, base, "adapter")).toThrow(
      'module "model.layers.1.q" is not in base',
    );
  });
});

describe("an output embedding that is not stored", () => {
  const tensors = { "model.embed_tokens.weight": [64, 8], "model.layers.0.q.weight": matrix };
  const none = { drop: "", add: "" };
  test("is read from the input embedding, and written under its own name", () => {
    const base = baseOf(tensors, { model_type: "llama", tie_word_embeddings: true });
    expect(findWeight("lm_head", none, base, "adapter")).toMatchObject({
      tensor: "lm_head.weight",
      source: "model.embed_tokens.weight",
      shape: [64, 8],
    });
  });
  test("is missing where nothing is tied", () => {
    const base = baseOf(tensors, { model_type: "llama", tie_word_embeddings: false });
    expect(() => findWeight("lm_head", none, base, "adapter")).toThrow('module "lm_head" is not in base');
  });
});

test("only a matrix can be adapted", () => {
  const base = baseOf({ "conv.weight": [8, 8, 3] });
  expect(() => findWeight("conv", { drop: "", add: "" }, base, "adapter")).toThrow("has shape [8, 8, 3], not a matrix");
});
