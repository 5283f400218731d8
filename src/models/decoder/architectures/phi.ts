import { RandloraError } from "../../../files/errors.ts";
import { attention, layerNorm, plainMlp } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, llamaLayer, sizesOf } from "./common.ts";

/** Phi 1, 1.5 and 2: attention and MLP read one norm by mean and variance, a part of each head turns, and logits have a bias. */
export const phi: Architecture = {
  type: "phi",
  title: "Phi 1, 1.5 and 2",
  describe(json) {
    if (json.qk_layernorm === true) throw new RandloraError("model", "qk_layernorm is not supported");
    const epsilon = json.layer_norm_eps ?? 1e-5;
    const sizes = sizesOf(json, { contextLength: 2048, epsilon, activation: "gelu_new" });
    const turned = { ...json, partial_rotary_factor: json.partial_rotary_factor ?? 0.5 };
    return decoder(json, sizes, {
      ropes: [ropeOf(turned, { ...sizes, partial: true })],
      layer(path) {
        const before = layerNorm(`${path}.input_layernorm`, sizes.hidden, epsilon);
        const parts = { outputName: "dense", qkvBias: true, outputBias: true };
        return [
          { before, mixer: attention(`${path}.self_attn`, sizes, parts) },
          { before, mixer: plainMlp(`${path}.mlp`, sizes, ["fc1", "fc2"], true), parallel: true },
        ];
      },
      norm: layerNorm("model.final_layernorm", sizes.hidden, epsilon),
      headBias: true,
    });
  },
};

/** Phi 3, 3.5 and 4: llama with q, k, v in one matrix, gate and up in another, and often LongRoPE. */
export const phi3: Architecture = {
  type: "phi3",
  title: "Phi 3, 3.5 and 4",
  targets: ["qkv_proj"],
  gguf: { name: "phi3", transformers: "Phi3ForCausalLM" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 4096, epsilon: 1e-5 });
    const window = json.sliding_window ?? Infinity;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, { ...sizes, partial: true, trainedLength: 4096 })],
      layer: (path) => llamaLayer(path, sizes, { names: ["qkv_proj"], window }, { names: ["gate_up_proj"] }),
    });
  },
};
