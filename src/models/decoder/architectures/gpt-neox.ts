import { behindEither } from "../../description.ts";
import { attention, layerNorm, plainMlp } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { UNTIED_HEAD } from "../weight-plan.ts";
import { type Architecture, decoder, sizesOf } from "./common.ts";

/** GPT-NeoX (Pythia): attention and MLP read the same, each through its norm by mean and variance; a part of each head turns. */
export const gptNeox: Architecture = {
  type: "gpt_neox",
  title: "GPT-NeoX and Pythia",
  targets: ["query_key_value"],
  settings: ({ rotary_pct: part, rotary_emb_base: theta, ...json }) => ({
    partial_rotary_factor: part ?? 0.25,
    rope_theta: theta,
    hidden_act: "gelu",
    ...json,
    // It has no others.
    head_dim: undefined,
    num_key_value_heads: undefined,
  }),
  describe(json) {
    const epsilon = json.layer_norm_eps ?? 1e-5;
    const sizes = sizesOf(json, { contextLength: 2048, epsilon });
    const bias = json.attention_bias ?? true;
    const norm = (name: string) => layerNorm(name, sizes.hidden, epsilon);
    const names = { names: ["query_key_value"], outputName: "dense", interleaved: true } as const;
    const described = decoder(json, sizes, {
      names: { embedding: "gpt_neox.embed_in", layers: "gpt_neox.layers" },
      ropes: [ropeOf(json, { ...sizes, partial: true })],
      layer: (path) => [
        {
          before: norm(`${path}.input_layernorm`),
          mixer: attention(`${path}.attention`, sizes, { ...names, qkvBias: bias, outputBias: bias }),
        },
        {
          before: norm(`${path}.post_attention_layernorm`),
          mixer: plainMlp(`${path}.mlp`, sizes, ["dense_h_to_4h", "dense_4h_to_h"], true),
          parallel: json.use_parallel_residual ?? true,
        },
      ],
      norm: norm("gpt_neox.final_layer_norm"),
    });
    // transformers calls it lm_head, and published files do not.
    return behindEither(described, (name, at) => (name === UNTIED_HEAD && at === 0 ? "embed_out.weight" : name));
  },
};
