import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import { noRope } from "../../blocks/rope-scaling.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, llamaLayer, sizesOf } from "./common.ts";

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
      ...sizesOf(json, { contextLength: 2048, epsilon: 1e-6 }),
      inner: json.shared_intermediate_size ?? 1024,
    };
    const bias = json.attention_bias ?? false;
    const attention = { scale: json.attention_multiplier ?? 1, qkvBias: bias, outputBias: bias };
    const mlp = { path: "shared_mlp", names: ["input_linear"], outputName: "output_linear" } as const;
    return decoder(json, sizes, {
      ropes: [json.position_embedding_type === "rope" ? ropeOf(json, sizes) : noRope(sizes.headSize)],
      embeddingScale: json.embedding_multiplier ?? 1,
      layer: (path) => llamaLayer(path, sizes, attention, mlp, json.residual_multiplier ?? 1),
      logitScale: 1 / (json.logits_scaling ?? 1),
    });
  },
};
