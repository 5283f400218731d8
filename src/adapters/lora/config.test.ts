import { describe, expect, test } from "bun:test";
import type { PlainConfig } from "../files/adapter.ts";
import { type LoraConfig, loraConfig, rankAndScale } from "./config.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import { parseLossless, toPlain } from "../../files/lossless-json.ts";

const parse = (settings: PlainConfig): LoraConfig => loraConfig({ settings, configFile: "a.json" });

test("defaults are PEFT's", () => {
  expect(parse({ peft_type: "LORA" })).toEqual({
    r: 8,
    alpha: 8,
    rslora: false,
    dora: false,
    rankPattern: [],
    alphaPattern: [],
    fanInFanOut: false,
    bias: false,
    tied: false,
    modulesToSave: [],
    targets: {
      modules: null,
      exclude: [],
      modulesToSave: [],
      layers: [],
      layersPattern: [],
      file: "a.json",
      parameters: [],
    },
  });
});

test("what PEFT 0.21.2 writes beside a plain LoRA is no variant", () => {
  const written = {
    alora_invocation_tokens: null,
    arrow_config: null,
    corda_config: null,
    eva_config: null,
    init_lora_weights: true,
    layer_replication: null,
    loftq_config: {},
    lora_bias: false,
    megatron_config: null,
    megatron_core: "megatron.core",
    qalora_group_size: 16,
    target_parameters: null,
    trainable_token_indices: null,
    use_bdlora: null,
    use_dora: false,
    use_qalora: false,
  };
  expect(parse(written).r).toBe(8);
  for (const start of [false, null, "gaussian", "orthogonal", "eva", "mica"]) {
    expect(parse({ init_lora_weights: start, eva_config: { rho: 2 } }).r).toBe(8);
  }
  expect(parse({ of_tomorrow: null, use_tomorrow: false, tomorrow_config: {} }).r).toBe(8);
});

describe("rank and scale", () => {
  test("α/r, or α/√r", () => {
    expect(rankAndScale(parse({ r: 16, lora_alpha: 8 }), "x")).toEqual({ rank: 16, scale: 0.5 });
    expect(rankAndScale(parse({ r: 16, lora_alpha: 8, use_rslora: true }), "x")).toEqual({ rank: 16, scale: 2 });
  });

  // As peft.utils.other.get_pattern_key decides: re.match(rf"(.*\.)?({key})$", path), the first key that matches.
  test.each<[string, number, number]>([
    ["model.layers.0.q_proj", 2, 8],
    ["model.layers.1.q_proj", 3, 8],
    ["model.layers.1.my_q_proj", 8, 8],
    ["model.layers.1.up_proj", 5, 8],
    ["model.layers.10.v_proj", 8, 64],
    ["other.model.layers.10.v_proj", 8, 8],
    ["q_proj", 3, 8],
    ["model.layers.1.q_proj.inner", 8, 8],
  ])("patterns: %s has rank %d and alpha %d", (module, rank, alpha) => {
    const rank_pattern = { [String.raw`layers\.0\.q_proj`]: 2, q_proj: 3, "up.*|down": 5 };
    const config = parse({ rank_pattern, alpha_pattern: { [String.raw`^model\.layers\.\d{2}\.v_proj`]: 64 } });
    expect(rankAndScale(config, module)).toEqual({ rank, scale: alpha / rank });
  });
});

// tuners_utils.py, _inject_parameters: the key is the parameter's own path.
test.each<[string, number]>([
  ["model.layers.0.mlp.gate", 12],
  ["model.layers.0.self_attn.q_proj", 32],
  ["model.layers.0.mlp.experts.gate_up_proj", 64],
])("patterns are held to the path of a weight that target_parameters mean: %s", (module, alpha) => {
  const alpha_pattern = { "mlp.gate": 99, "mlp.gate.weight": 12, "q_proj.weight": 98, q_proj: 32, gate_up_proj: 64 };
  const config = parse({ r: 4, target_parameters: ["mlp.gate.weight", "experts.gate_up_proj"], alpha_pattern });
  expect(rankAndScale(config, module)).toEqual({ rank: 4, scale: alpha / 4 });
});

// PEFT 0.21.2 loads such a file with these scales.
test.each<[string, number]>([
  ['{"layers.3.mlp.0": 64, "0": 16}', 16],
  ['{"0": 16, "layers.3.mlp.0": 64}', 4],
])("the first pattern of the file holds, integer-like keys too: %s", (pattern, scale) => {
  const settings = toPlain(parseLossless(`{"r": 4, "alpha_pattern": ${pattern}}`)) as Readonly<Record<string, unknown>>;
  expect(rankAndScale(parse(settings), "layers.3.mlp.0").scale).toBe(scale);
  expect(rankAndScale(parse(settings), "layers.2.mlp.0").scale).toBe(4);
});

describe("refused with the reason and a hint", () => {
  test.each<[Readonly<Record<string, unknown>>, string]>([
    [{ lora_bias: true }, '"lora_bias" is set'],
    [{ target_parameters: ["mlp.experts.down_proj"], use_dora: true }, '"target_parameters" as well'],
    [{ trainable_token_indices: [1] }, '"trainable_token_indices" is set'],
    [{ megatron_config: { tp: 2 } }, '"megatron_config" is set'],
    [{ layer_replication: [[0, 4]] }, '"layer_replication" is set'],
    [{ alora_invocation_tokens: [5] }, '"alora_invocation_tokens" is set'],
    [{ use_qalora: true }, '"use_qalora" is set'],
    [{ velora_config: { num_groups: 8, scale: 1 } }, '"velora_config" is set'],
    ...["pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga"].map(
      (start): [Readonly<Record<string, unknown>>, string] => [
        { init_lora_weights: start },
        `"init_lora_weights" is "${start}": the base's own weights were changed before training`,
      ],
    ),
    [{ use_bdlora: { nblocks: 2 } }, '"use_bdlora" is set'],
    [{ kasa_config: { beta: 1 } }, '"kasa_config" is set'],
    [{ arrow_config: { top_k: 3 } }, '"arrow_config" is set'],
    [{ monteclora_config: { num_samples: 4 } }, '"monteclora_config" is set'],
    [{ use_tomorrow: true }, '"use_tomorrow" is set, which may change what A and B mean'],
    [{ init_lora_weights: "of-tomorrow" }, "not known to leave the base's weights alone"],
  ])("%j", async (config, message) => {
    const refusal = await refusalOf(() => parse(config));
    expect(refusal.code).toBe("adapter");
    expect(refusal.message).toStartWith("a.json: ");
    expect(refusal.message).toContain(message);
    expect(refusal.message).not.toContain("\n");
    expect(refusal.hint).not.toBe("");
  });

  test.each<[Readonly<Record<string, unknown>>, string]>([
    [{ r: 0 }, '"r" is 0: it must be a positive integer'],
    [{ lora_alpha: "x" }, '"lora_alpha" is "x"'],
    [{ rank_pattern: { q: 1.5 } }, '"rank_pattern.q" is 1.5: it must be a positive integer'],
    [{ alpha_pattern: "x" }, '"alpha_pattern"'],
    [{ use_dora: "yes" }, '"use_dora" is "yes"'],
    [{ bias: "some" }, '"bias" is "some"'],
  ])("%j makes no sense", async (config, message) => {
    const refusal = await refusalOf(() => parse(config));
    expect([refusal.code, refusal.message]).toEqual(["format", expect.stringContaining(message)]);
  });
});
