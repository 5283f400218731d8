import { RandloraError } from "../../../files/errors.ts";
import { attention, layerNorm, plainMlp } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, sizesOf } from "./common.ts";

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
