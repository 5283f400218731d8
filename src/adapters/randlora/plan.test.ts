import { describe, expect, test } from "bun:test";
import { baseOf, f32, numbers, parameters } from "../testing/adapters.ts";
import { readAllValues } from "../files/tensors.ts";
import { BASE, base, type Case, MODULES, plan, withAdapter } from "../testing/randlora.ts";

test("layers, scale, extent and replacements", async () => {
  const saved = { "base_model.model.model.norm.weight": numbers([8]) };
  const config = { modules_to_save: ["norm"] };
  await withAdapter({ config, tensors: { ...parameters(3, MODULES), ...saved } }, (adapter) => {
    const { scale, pairing, layers, extent, replacements, notes } = plan(adapter);
    expect({ scale, pairing, extent, notes }).toEqual({
      scale: 20,
      pairing: "peft",
      extent: { rows: 12, bases: 3, cols: 8 },
      notes: [],
    });
    expect(layers[1]).toMatchObject({
      tensor: "model.layers.0.up.weight",
      out: 12,
      in: 8,
      sizes: { rows: 12, cols: 8, bases: 3 },
    });
    expect(replacements).toMatchObject([{ tensor: "model.norm.weight", exists: true }]);
  });
});

test("GPT-2 stores (in, out)", async () => {
  const gpt2 = baseOf({ "h.0.attn.c_attn.weight": [8, 24] }, { model_type: "gpt2" });
  const given = {
    config: { target_modules: ["c_attn"] },
    tensors: parameters(3, { "transformer.h.0.attn.c_attn": 8 }),
  };
  await withAdapter(given, (adapter) => {
    expect(plan(adapter, gpt2).layers).toMatchObject([
      { tensor: "h.0.attn.c_attn.weight", out: 24, in: 8, conv1d: true },
    ]);
  });
});

describe("an adapter that does not fit is refused, naming both sides", () => {
  const refusals: readonly (readonly [name: string, given: Case, message: string])[] = [
    [
      "half a pair",
      { tensors: { ...parameters(3, MODULES), "base_model.randlora_A": numbers([3, 1, 8]) } },
      'tensor "base_model.randlora_B" is missing',
    ],
    [
      "bases too small",
      {
        tensors: {
          ...parameters(3, MODULES),
          "base_model.randlora_A": numbers([3, 1, 8]),
          "base_model.randlora_B": numbers([11, 3, 3]),
        },
      },
      '.safetensors: "model.layers.0.up" of 12 × 8 with 3 bases exceeds the random bases, drawn at 11 × 8',
    ],

    [
      "bases of another r",
      {
        tensors: {
          ...parameters(3, MODULES),
          "base_model.randlora_A": numbers([4, 1, 8]),
          "base_model.randlora_B": numbers([12, 2, 4]),
        },
      },
      "do not fit r = 3",
    ],
    [
      "targets that miss a module of an adapter that holds its bases",
      {
        config: { target_modules: ["q"] },
        tensors: {
          ...parameters(3, MODULES),
          "base_model.randlora_A": numbers([3, 1, 8]),
          "base_model.randlora_B": numbers([12, 3, 3]),
        },
      },
      'it holds "model.layers.0.up", which target_modules',
    ],
    [
      "a tensor of another method",
      { tensors: { ...parameters(3, MODULES), "base_model.model.model.layers.0.q.lora_A.weight": numbers([3, 8]) } },
      'tensor "model.layers.0.q.lora_A.weight" belongs to no adapted or saved module',
    ],
    [
      "a saved module of another shape",
      {
        config: { modules_to_save: ["norm"] },
        tensors: { ...parameters(3, MODULES), "base_model.model.model.norm.weight": numbers([9]) },
      },
      'tensor "model.norm.weight" has shape [9], but "model.norm.weight" of base has [8]',
    ],
    [
      "an unknown generator in the record",
      { metadata: { randlora_bases: '{"generator":"dice","max":12,"min":8,"dtype":"f32","sha256":{}}' } },
      '"bases.generator" is "dice": it must be one of torch-mt19937',
    ],
  ];
  for (const [name, given, message] of refusals) {
    test(name, async () => {
      await withAdapter(given, (adapter) => {
        expect(() => plan(adapter)).toThrow(expect.objectContaining({ name: "RandloraError" }));
        expect(() => plan(adapter)).toThrow(message);
      });
    });
  }

  test("bf16 and f16 layers together, and no record", async () => {
    const tensors = new Map(base.tensors);
    tensors.set("model.layers.0.q.weight", { dtype: "BF16", shape: [8, 8] });
    tensors.set("model.layers.0.up.weight", { dtype: "F16", shape: [12, 8] });
    await withAdapter({}, (adapter) => {
      expect(() => plan(adapter, { ...base, tensors })).toThrow("mixes F16 and BF16");
    });
  });
});

test("NaN and infinity in λ or γ are found, and named", async () => {
  for (const [suffix, bad] of [
    ["lambda", NaN],
    ["gamma", -Infinity],
  ] as const) {
    const name = `base_model.model.model.layers.0.q.randlora_${suffix}`;
    const own = parameters(3, MODULES);
    const shape = own[name]?.shape ?? [];
    const values = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => (i === 2 ? bad : 0));
    await withAdapter({ tensors: { ...own, [name]: f32(shape, values) } }, async (adapter) => {
      const [layer] = plan(adapter).layers;
      if (layer === undefined) throw new Error("no layer");
      const message = `tensor "model.layers.0.q.randlora_${suffix}" holds ${bad}`;
      await expect(readAllValues(adapter, layer.tensors)).rejects.toThrow(message);
    });
  }
});

describe("an adapted output embedding", () => {
  const head = { "base_model.model.lm_head.base_layer.weight": numbers([64, 8]) };
  const given = { config: { target_modules: ["lm_head"] }, tensors: { ...parameters(3, { lm_head: 8 }), ...head } };
  test("brings the base's own weight, which replaces nothing", async () => {
    await withAdapter(given, (adapter) => {
      const { layers, replacements } = plan(adapter, baseOf({ ...BASE, "lm_head.weight": [64, 8] }));
      expect(layers).toMatchObject([{ tensor: "lm_head.weight", source: "lm_head.weight" }]);
      expect(replacements).toEqual([]);
    });
  });
  test("that is tied is read from the embedding", async () => {
    await withAdapter(given, (adapter) => {
      const { layers, replacements } = plan(adapter);
      expect(layers).toMatchObject([{ tensor: "lm_head.weight", source: "model.embed_tokens.weight", out: 64, in: 8 }]);
      expect(replacements).toEqual([]);
    });
  });
  test("of a resized vocabulary is refused", async () => {
    await withAdapter(given, (adapter) => {
      const other = baseOf({ ...BASE, "lm_head.weight": [60, 8] });
      expect(() => plan(adapter, other)).toThrow('"lm_head.base_layer.weight" has shape [64, 8], but "lm_head.weight"');
    });
  });
});

test("biases replace the base's, from adapted layers too", async () => {
  const biases = {
    "base_model.model.model.layers.0.q.base_layer.bias": numbers([8]),
    "base_model.model.model.norm.bias": numbers([8]),
  };
  const biased = baseOf({ ...BASE, "model.layers.0.q.bias": [8], "model.norm.bias": [8] });
  await withAdapter({ config: { bias: "all" }, tensors: { ...parameters(3, MODULES), ...biases } }, (adapter) => {
    const names = plan(adapter, biased).replacements.map(({ tensor, exists }) => [tensor, exists]);
    expect(names).toEqual([
      ["model.layers.0.q.bias", true],
      ["model.norm.bias", true],
    ]);
  });
});

test("biases that PEFT's wrapper of a saved module repeats are not taken for more", async () => {
  const norm = "base_model.model.model.norm";
  const tensors = {
    ...parameters(3, MODULES),
    [`${norm}.bias`]: numbers([8]),
    [`${norm}.modules_to_save.bias`]: numbers([8]),
    [`${norm}.original_module.bias`]: numbers([8]),
    [`${norm}.modules_to_save.weight`]: numbers([8]),
  };
  await withAdapter({ config: { bias: "all", modules_to_save: ["norm"] }, tensors }, (adapter) => {
    const { replacements } = plan(adapter, baseOf({ ...BASE, "model.norm.bias": [8] }));
    const names = replacements.map(({ tensor, exists }) => [tensor, exists]).toSorted();
    expect(names).toEqual([
      ["model.norm.bias", true],
      ["model.norm.weight", true],
    ]);
  });
});
