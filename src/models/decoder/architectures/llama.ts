import {
  type Architecture,
  decoder,
  isSliding,
  llamaLayer,
  type Model,
  type ModelSizes,
  routingOf,
  sizesOf,
  usualLayer,
  withDefault,
} from "./common.ts";
import { growingRopeOf, ropeOf } from "../rope-json.ts";
import { noRope } from "../../blocks/rope.ts";
import { experts } from "../experts.ts";
import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import type { ConfigJson } from "../config-file.ts";

/** Llama 2 and 3, SmolLM2, TinyLlama and all that share their config. */
export const llama: Architecture = {
  type: "llama",
  title: "Llama 2 and 3, SmolLM2, TinyLlama",
  gguf: { name: "llama", transformers: "LlamaForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 2048, epsilon: 1e-6 });
    const bias = json.attention_bias ?? false;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path) => llamaLayer(path, sizes, { qkvBias: bias, outputBias: bias }, { bias: json.mlp_bias ?? false }),
    });
  },
};

/** SmolLM3: llama, every fourth layer of which has no rope, and perhaps a window. */
export const smollm3: Architecture = {
  type: "smollm3",
  title: "SmolLM3",
  gguf: { name: "smollm3", transformers: "SmolLM3ForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 32_768, epsilon: 1e-6, kvHeads: 4 });
    const interval = json.no_rope_layer_interval ?? 4;
    const bias = json.attention_bias ?? false;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, { ...sizes, theta: 2_000_000 }), noRope(sizes.headSize)],
      layer(path, index) {
        const turns = json.no_rope_layers?.[index] ?? Number((index + 1) % interval !== 0);
        const rope = turns === 0 ? 1 : 0;
        const slides = isSliding(json, index, json.use_sliding_window === true && turns === 0);
        const window = (slides ? json.sliding_window : undefined) ?? Infinity;
        const mlpBias = json.mlp_bias ?? false;
        return llamaLayer(path, sizes, { rope, window, qkvBias: bias, outputBias: bias }, { bias: mlpBias });
      },
      tied: true,
    });
  },
};

/** Seed-OSS: llama with biases on q, k and v unless `attention_bias` is off, and on the output where that is asked for. */
export const seedOss: Architecture = {
  type: "seed_oss",
  title: "Seed-OSS",
  gguf: { name: "seed_oss", transformers: "SeedOssForCausalLM", mlpNorm: "post_attention_norm" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 524_288, epsilon: 1e-6, kvHeads: 8, headSize: 128 });
    const biases = { qkvBias: json.attention_bias ?? true, outputBias: json.attention_out_bias ?? false };
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path) => llamaLayer(path, sizes, biases, { bias: json.mlp_bias ?? false }),
    });
  },
};

/** Mistral 7B and its successors: llama with a sliding window in every layer, or in none. */
export const mistral: Architecture = {
  type: "mistral",
  title: "Mistral 7B and its successors",
  gguf: { name: "llama", transformers: "MistralForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 131_072, epsilon: 1e-6, kvHeads: 8 });
    const window = withDefault(json.sliding_window, 4096) ?? Infinity;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path) => llamaLayer(path, sizes, { window }),
    });
  },
};

/** Ministral 8B of 2024: Mistral, some layers of which see a window. */
export const ministral: Architecture = {
  type: "ministral",
  title: "Ministral 8B (2024)",
  gguf: { name: "llama", transformers: "MinistralForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 131_072, epsilon: 1e-6, kvHeads: 8 });
    const window = withDefault(json.sliding_window, 4096) ?? Infinity;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path, index) => llamaLayer(path, sizes, { window: isSliding(json, index, true) ? window : Infinity }),
    });
  },
};

/** What config.json means where it has no `rope_parameters`. */
const USUAL_ROPE = {
  rope_type: "yarn",
  rope_theta: 1_000_000,
  factor: 16,
  original_max_position_embeddings: 16_384,
  mscale: 1,
  mscale_all_dim: 1,
  llama_4_scaling_beta: 0.1,
};

/** Ministral 3 (3B, 8B, 14B): Mistral with YaRN, whose queries grow with their position. */
export const ministral3: Architecture = {
  type: "ministral3",
  title: "Ministral 3 (text)",
  gguf: { name: "mistral3", transformers: "Ministral3ForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 262_144, epsilon: 1e-5, kvHeads: 8, headSize: 128 });
    const rope = { ...json, rope_parameters: json.rope_parameters ?? json.rope_scaling ?? USUAL_ROPE };
    return decoder(json, sizes, {
      ropes: [growingRopeOf(rope, sizes)],
      layer: (path) => llamaLayer(path, sizes, { window: json.sliding_window ?? Infinity }),
    });
  },
};

/** Mixtral 8x7B and 8x22B: Mistral's layer with a mixture of experts in the place of its MLP. */
export const mixtral: Architecture = {
  type: "mixtral",
  title: "Mixtral",
  gguf: { name: "llama", transformers: "MixtralForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 131_072, epsilon: 1e-5, kvHeads: 8 });
    const routing = routingOf(json, { count: 8, chosen: 2, amongChosen: true });
    const window = json.sliding_window ?? Infinity;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, { ...sizes, theta: 1e6 })],
      layer(path) {
        const names = { router: "gate.weight", gate: "w1", up: "w3", down: "w2" };
        return usualLayer(path, sizes, { window }, experts(path, sizes, routing, { path: "block_sparse_moe", names }));
      },
    });
  },
};

const DEFAULTS = { contextLength: 2048, epsilon: 1e-6 };

/** Granite 3: llama with multipliers of embeddings, scores, residual branches and logits. */
export const granite: Architecture = {
  type: "granite",
  title: "Granite 3",
  gguf: { name: "granite", transformers: "GraniteForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, DEFAULTS);
    const mlp = { bias: json.mlp_bias ?? false };
    return describeGranite(json, sizes, (path) => llamaLayer(path, sizes, headsOf(json), mlp, factorOf(json)));
  },
};

/** Granite 3 with mixtures of experts (1B-A400M, 3B-A800M), which lie in one tensor: Granite's multipliers beside them. */
export const granitemoe: Architecture = {
  type: "granitemoe",
  title: "Granite 3 MoE",
  gguf: { name: "granitemoe", transformers: "GraniteMoeForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, DEFAULTS);
    const routing = routingOf(json, { count: 8, chosen: 2, amongChosen: true });
    const names = { router: "router.layer.weight", gateUp: "input_linear.weight", down: "output_linear.weight" };
    const parts = { path: "block_sparse_moe", names, fused: { path: "block_sparse_moe", router: "router.weight" } };
    return describeGranite(json, sizes, (path) =>
      usualLayer(path, sizes, headsOf(json), experts(path, sizes, routing, parts), factorOf(json)),
    );
  },
};

/** Granite 4 without recurrent layers and experts (350M, 1B, Micro): Granite 3, with gate and up in one matrix of an MLP that is called shared. */
export const granitemoehybrid: Architecture = {
  type: "granitemoehybrid",
  title: "Granite 4, dense (350M, 1B, Micro)",
  gguf: { name: "granite", transformers: "GraniteMoeHybridForCausalLM", pairs: true, apart: true },
  describe(json) {
    const types = json.layer_types ?? json.layers_block_type ?? ["mamba"];
    const other = types.find((type) => type !== "attention" && type !== "full_attention");
    if (other !== undefined) {
      throw new RandloraError("model", `layers of type ${quote(other)} are not supported`, "supported: attention");
    }
    if ((json.num_local_experts ?? 8) > 0) {
      throw new RandloraError(
        "model",
        "experts beside a shared MLP are not supported",
        "supported: Granite 4's dense models",
      );
    }
    const sizes = {
      ...sizesOf(json, DEFAULTS),
      inner: json.shared_intermediate_size ?? 1024,
    };
    const mlp = { path: "shared_mlp", names: ["input_linear"], outputName: "output_linear" } as const;
    const rope = json.position_embedding_type === "rope" ? ropeOf(json, sizes) : noRope(sizes.headSize);
    return describeGranite(json, sizes, (path) => llamaLayer(path, sizes, headsOf(json), mlp, factorOf(json)), rope);
  },
};

function headsOf(json: ConfigJson) {
  const bias = json.attention_bias ?? false;
  return { scale: json.attention_multiplier ?? 1, qkvBias: bias, outputBias: bias };
}

/** Of residual branches. */
function factorOf(json: ConfigJson): number {
  return json.residual_multiplier ?? 1;
}

function describeGranite(json: ConfigJson, sizes: ModelSizes, layer: Model["layer"], rope = ropeOf(json, sizes)) {
  return decoder(json, sizes, {
    ropes: [rope],
    embeddingScale: json.embedding_multiplier ?? 1,
    layer,
    logitScale: 1 / (json.logits_scaling ?? 1),
  });
}
