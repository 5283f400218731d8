import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import { noRope } from "../../blocks/rope-scaling.ts";
import type { ConfigJson } from "../config-file.ts";
import { experts } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import {
  type Architecture,
  decoder,
  llamaLayer,
  type Model,
  type ModelSizes,
  routingOf,
  sizesOf,
  usualLayer,
} from "./common.ts";

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
