import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, llamaLayer, sizesOf } from "./common.ts";

/** Granite 3: llama with multipliers of embeddings, scores, residual branches and logits. */
export const granite: Architecture = {
  type: "granite",
  title: "Granite 3",
  gguf: { name: "granite", transformers: "GraniteForCausalLM", pairs: true },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 2048, epsilon: 1e-6 });
    const bias = json.attention_bias ?? false;
    const attention = { scale: json.attention_multiplier ?? 1, qkvBias: bias, outputBias: bias };
    const factor = json.residual_multiplier ?? 1;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      embeddingScale: json.embedding_multiplier ?? 1,
      layer: (path) => llamaLayer(path, sizes, attention, { bias: json.mlp_bias ?? false }, factor),
      logitScale: 1 / (json.logits_scaling ?? 1),
    });
  },
};
