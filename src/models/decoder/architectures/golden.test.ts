// Logits of a small model of every architecture, as transformers computes them from the same files.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../../../compute/device/device.ts";
import { fromBlocks, toBlocks } from "../../../compute/device/blocks.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { transpose } from "../../../files/safetensors/transpose.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { ARCHITECTURE_CASES, writeArchitecture } from "../../testing/architectures.ts";
import { Batch, type PassResult } from "../cache/batch.ts";
import type { BatchToken } from "../cache/batch-pass.ts";
import { loadDecoder } from "../../folder/load-decoder.ts";
import type { LoadOptions } from "../decoder.ts";
import { plannedMatrices, storedDecoder } from "../weight-plan.ts";
import { logitsAfter } from "../../testing/logits.ts";

/** More tokens than any window here. */
const PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8];

const GRANITE = { attention_multiplier: 0.2, embedding_multiplier: 3, residual_multiplier: 0.4, logits_scaling: 2.5 };
const YARN = { rope_type: "yarn", rope_theta: 10_000, factor: 4, original_max_position_embeddings: 5 };
const GROWING = { ...YARN, llama_4_scaling_beta: 0.3 };

/** By case: settings of config.json beside the sizes, and the first logits after the prompt. */
const GEMMA3 = { sliding_window: 4, sliding_window_pattern: 2, query_pre_attn_scalar: 12 };
const GEMMA3_LOGITS = [-1.45828, -12.15093, 14.73298, -3.94463, -10.42354, 15.33218];
const GEMMA4 = {
  sliding_window: 4,
  layer_types: ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
  attention_k_eq_v: true,
  num_global_key_value_heads: 1,
  final_logit_softcapping: 0.2,
  // Scores are not scaled: with the usual epsilon rounding decides.
  rms_norm_eps: 0.3,
};
/** With inputs of layers, and keys that layers share. */
const GEMMA4_SMALL = {
  ...GEMMA4,
  final_logit_softcapping: 5.5,
  num_kv_shared_layers: 2,
  use_double_wide_mlp: true,
};
const GEMMA4_SMALL_LOGITS = [-0.50359, 2.59273, -2.39852, -0.00688, 2.4046, -2.58841];
const GEMMA4_LOGITS = [0.15767, -0.01469, -0.15118, 0.16365, -0.05298, -0.13874];
const QWEN2_LOGITS = [-0.44881, 0.10601, 0.33299, -0.4698, 0.18026, 0.27287];
const QWEN2_VL = { tie_word_embeddings: true, text_config: { rope_theta: 10_000, rms_norm_eps: 1e-6 } };
const QWEN3_LOGITS = [0.29844, -0.3202, 0.05137, 0.26407, -0.33987, 0.10723];
const QWEN35_LOGITS = [0.82879, -2.78843, 2.21753, 0.36582, -2.61717, 2.49341];
const GOLDEN: Readonly<Record<string, readonly [settings: object, logits: readonly number[]]>> = {
  llama: [{ attention_bias: true, mlp_bias: true }, [-0.47071, 0.23161, 0.21768, -0.46942, 0.29516, 0.14697]],
  mistral: [{ sliding_window: 4 }, [-0.90008, 0.81248, 0.01246, -0.82609, 0.89003, -0.14626]],
  qwen2: [{ tie_word_embeddings: true }, QWEN2_LOGITS],
  qwen2_vl: [QWEN2_VL, QWEN2_LOGITS],
  qwen2_5_vl: [QWEN2_VL, QWEN2_LOGITS],
  qwen3: [{}, QWEN3_LOGITS],
  qwen3_vl: [{ text_config: { rope_theta: 10_000 } }, QWEN3_LOGITS],
  qwen3_vl_moe: [
    { text_config: { rope_theta: 10_000 }, mlp_only_layers: [1], moe_intermediate_size: 48 },
    [-0.03134, -0.68201, 0.77642, -0.16622, -0.59483, 0.81606],
  ],
  phi: [{}, [-7.72032, -7.10085, 15.17743, -10.21389, -3.52939, 14.67719]],
  phi3: [{}, [1.18008, -0.44909, -0.68946, 1.20231, -0.62404, -0.52055]],
  gemma2: [
    { sliding_window: 4, query_pre_attn_scalar: 12 },
    [-2.83623, -13.11166, 16.25498, -5.75604, -11.25707, 16.64348],
  ],
  gemma3_text: [GEMMA3, GEMMA3_LOGITS],
  gemma3: [{ text_config: GEMMA3 }, GEMMA3_LOGITS],
  gemma4_text: [GEMMA4, GEMMA4_LOGITS],
  "gemma4_text-experts": [
    { ...GEMMA4, final_logit_softcapping: 5.5 },
    [-0.53859, 1.45309, -1.07183, -0.30195, 1.38545, -1.2238],
  ],
  gemma4: [{ text_config: GEMMA4_SMALL }, GEMMA4_SMALL_LOGITS],
  gemma: [{}, [1.52936, -2.0093, 0.66577, 1.28196, -2.06629, 0.97543]],
  olmo3: [{ sliding_window: 4 }, [1.55731, 0.75359, -2.3806, 1.84718, 0.36259, -2.2433]],
  smollm3: [{ use_sliding_window: true, sliding_window: 4 }, [0.95285, -1.10563, 0.25503, 0.82701, -1.15853, 0.43866]],
  exaone4: [{ sliding_window: 4 }, [0.64277, -1.47924, 0.97327, 0.41595, -1.42769, 1.14378]],
  seed_oss: [{ attention_out_bias: true }, [-0.00385, 0.38318, -0.41477, 0.06995, 0.33835, -0.4396]],
  granite: [GRANITE, [-0.08742, 0.14418, -0.0701, -0.0676, 0.14395, -0.08966]],
  granitemoehybrid: [
    { ...GRANITE, position_embedding_type: "rope" },
    [-0.08742, 0.14418, -0.0701, -0.0676, 0.14395, -0.08966],
  ],
  ministral: [
    { sliding_window: 4, layer_types: ["sliding_attention", "full_attention", "sliding_attention", "full_attention"] },
    [-0.04126, 0.27475, -0.25889, 0.00809, 0.25006, -0.28127],
  ],
  ministral3: [{ rope_parameters: GROWING }, [0.85845, -0.40701, -0.41379, 0.85908, -0.52473, -0.28581]],
  mistral3: [{ text_config: { model_type: "mistral" } }, [0.96849, -1.12669, 0.2624, 0.84002, -1.18011, 0.44923]],
  gpt2: [{ scale_attn_by_inverse_layer_idx: true }, [-9.348, 16.14399, -8.28905, -7.08832, 16.03293, -10.42741]],
  gpt_neox: [{ rotary_pct: 0.5 }, [-7.86938, -6.47162, 14.93953, -9.84958, -4.17901, 14.41509]],
  glm4: [{}, [-1.42906, -0.88614, 2.39715, -1.73271, -0.50419, 2.28353]],
  glm4_moe: [
    { routed_scaling_factor: 1.5, use_qk_norm: true, attention_bias: true },
    [1.10456, -1.14493, 0.14626, 0.98515, -1.22252, 0.35043],
  ],
  cohere: [{ logit_scale: 1.5 }, [-0.54728, -1.09537, 1.74396, -0.80988, -0.85918, 1.74852]],
  cohere2: [{ sliding_window: 4, logit_scale: 1.5 }, [-0.99489, 0.82401, 0.09467, -0.92744, 0.91854, -0.07605]],
  starcoder2: [{ sliding_window: 4 }, [-1.08956, 13.74966, -13.93172, 1.47053, 12.32519, -14.93561]],
  mixtral: [{}, [-0.22633, 0.91741, -0.77592, -0.06973, 0.8521, -0.86118]],
  qwen2_moe: [
    { num_experts: 8, shared_expert_intermediate_size: 48 },
    [-0.4269, -0.0234, 0.45247, -0.47091, 0.062, 0.40318],
  ],
  qwen3_moe: [
    { norm_topk_prob: true, mlp_only_layers: [1] },
    [0.09108, -0.73314, 0.70987, -0.04238, -0.66357, 0.76732],
  ],
  granitemoe: [GRANITE, [-0.2233, 0.06019, 0.15755, -0.23231, 0.09625, 0.12716]],
  gpt_oss: [{ sliding_window: 4, swiglu_limit: 0.4 }, [-0.01996, -0.11193, 0.14223, -0.04346, -0.09475, 0.14698]],
  olmoe: [{}, [-0.61776, 0.05595, 0.55664, -0.66407, 0.16884, 0.47961]],
  lfm2: [
    { block_ff_dim: 48, block_multiple_of: 16, full_attn_idxs: [1, 3], conv_bias: true, norm_eps: 1e-4 },
    [0.6062, -0.24341, -0.34028, 0.61516, -0.33177, -0.25271],
  ],
  lfm2_moe: [
    { num_experts: 8, num_dense_layers: 1, full_attn_idxs: [1, 3], norm_eps: 1e-4, routed_scaling_factor: 1.5 },
    [0.38406, -0.10987, -0.26403, 0.39832, -0.17113, -0.21137],
  ],
  qwen3_5_text: [{}, QWEN35_LOGITS],
  qwen3_5: [{}, QWEN35_LOGITS],
  qwen3_5_moe_text: [{}, [3.90801, -3.35509, -0.24264, 3.62016, -3.71233, 0.43551]],
  qwen3_5_moe: [{}, [3.90801, -3.35509, -0.24264, 3.62016, -3.71233, 0.43551]],
  qwen3_next: [{ mlp_only_layers: [1] }, [-0.05668, 1.80287, -1.91293, 0.28698, 1.59941, -2.03431]],
  olmo2: [{}, [0.87869, 0.47458, -1.39716, 1.05179, 0.24809, -1.32283]],
};

/** The same of sizes that are no multiples of 4. */
const ODD_SIZES: typeof GOLDEN = {
  "llama-sizes": [{ head_dim: 2 }, [-0.11572, 0.19857, -0.10122, -0.08799, 0.19735, -0.12761]],
  "phi3-sizes": [{ intermediate_size: 50, head_dim: 10 }, [-1.25881, -0.32323, 1.61193, -1.43778, -0.04118, 1.48276]],
  "qwen3_moe-sizes": [
    { moe_intermediate_size: 18, norm_topk_prob: true, head_dim: 10 },
    [-0.98789, -0.15127, 1.15315, -1.10853, 0.0579, 1.04527],
  ],
  "qwen3_5_text-sizes": [
    {
      full_attention_interval: 2,
      linear_num_key_heads: 1,
      linear_num_value_heads: 3,
      linear_key_head_dim: 8,
      linear_value_head_dim: 32,
    },
    [1.23826, 0.25152, -1.51304, 1.40145, -0.01803, -1.38176],
  ],
};

let gpu: Device;
let folder: TemporaryFolder;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
});
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

function expectNear(logits: ArrayLike<number>, expected: readonly number[], within = 1e-4): void {
  const largest = Math.max(...expected.map(Math.abs));
  expected.forEach((logit, id) => expect(Math.abs((logits[id] ?? NaN) - logit)).toBeLessThan(within * largest));
}

test("every architecture is tried", () => {
  expect(Object.keys(GOLDEN).toSorted()).toEqual(ARCHITECTURE_CASES.toSorted());
});

/** The logits after the prompt. */
async function logitsOf(path: string, options: LoadOptions): Promise<Float32Array> {
  using decoder = await loadDecoder(gpu, path, options);
  return await logitsAfter(decoder, PROMPT);
}

/** One of each way in which weights lie in files: apart, joined, transposed, of all experts in one, beside tables and convolutions. */
const LAYOUTS = [
  "llama",
  "phi3",
  "gpt2",
  "gpt_oss",
  "granitemoe",
  "qwen2_moe",
  "gemma4",
  "lfm2_moe",
  "qwen3_5_text-sizes",
];

test.each(Object.entries({ ...GOLDEN, ...ODD_SIZES }).filter(([type]) => LAYOUTS.includes(type)))(
  "%s with quantized weights has the logits of weights that were rounded",
  async (type, [settings]) => {
    const [plain, rounded] = [folder.at(`${type}-plain`), folder.at(`${type}-rounded`)];
    const config = await writeArchitecture(plain, type, 4, settings);
    await cp(plain, rounded, { recursive: true });
    await using checkpoint = await Checkpoint.open(plain);
    const plans = new Map(
      plannedMatrices(storedDecoder(config, checkpoint.tensors)).flatMap((planned) =>
        planned.parts.map(({ name }) => [name, planned]),
      ),
    );
    const file = await Bun.file(join(rounded, "model.safetensors")).bytes();
    for (const [name, { info }] of checkpoint.tensors) {
      const { kind, transposed = false } = plans.get(name) ?? {};
      if (kind !== "linear" && kind !== "table") continue;
      // Blocks lie along rows of the matrix, whichever way it is stored.
      const [rows = NaN, cols = NaN] = info.shape.slice(-2);
      const stored = file.slice(info.offset, info.offset + info.bytes);
      const values = new Float32Array((transposed ? transpose(stored, rows, cols, 4) : stored).buffer);
      const bytes = new Uint8Array(fromBlocks(toBlocks(values, "Q8_0"), "Q8_0").buffer);
      file.set(transposed ? transpose(bytes, cols, rows, 4) : bytes, info.offset);
    }
    await Bun.write(join(rounded, "model.safetensors"), file);
    const found = await logitsOf(plain, { quantize: "Q8_0" });
    // Products with quantized weights round their inputs, too.
    expectNear(found, Array.from(await logitsOf(rounded, {})), 3e-3);
    expect(found).not.toEqual(await logitsOf(plain, {}));
  },
);

test.each(Object.entries({ ...GOLDEN, ...ODD_SIZES }))("%s", async (type, [settings, expected]) => {
  await writeArchitecture(folder.at(type), type, 4, settings);
  using decoder = await loadDecoder(gpu, folder.at(type));
  // As a whole, and behind a prefix.
  for (const prefix of [0, 5]) {
    using cache = decoder.createCache();
    if (prefix > 0) await logitsAfter(decoder, PROMPT.slice(0, prefix), cache);
    expectNear(await logitsAfter(decoder, PROMPT.slice(prefix), cache), expected);
  }
  // The last token in a batch, beside a sequence that stands elsewhere.
  using batch = new Batch(decoder, { rows: 2, positions: 1024 });
  const next: BatchToken[] = [];
  for (const count of [4, PROMPT.length]) {
    const slot = batch.pool.acquire();
    await batch.pass([], { slot, ids: PROMPT.slice(0, count - 1), sequenceLength: count });
    next.push({ slot, id: PROMPT[count - 1] ?? NaN, top: 1, all: true, lse: false });
  }
  const [, last] = (await batch.pass(next)).next;
  expectNear(last?.all ?? [], expected);
  // The same commands are sent again for tokens behind it.
  const more = [7, 11, 2, 5];
  let results: PassResult["next"] = [];
  for (const id of more) results = (await batch.pass(next.map((token) => ({ ...token, id })))).next;
  expectNear(results[1]?.all ?? [], Array.from(await logitsAfter(decoder, [...PROMPT, ...more])));
});
