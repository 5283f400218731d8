import { noRope } from "../../blocks/rope-scaling.ts";
import { behindEither, linearsTransposed } from "../../description.ts";
import { plannedMatrix } from "../../tensor-plan.ts";
import { attention, layerNorm, plainMlp } from "../parts.ts";
import { UNTIED_HEAD } from "../weight-plan.ts";
import { type Architecture, decoder, sizesOf } from "./common.ts";

/** What names begin with in files of the model with its output matrix, and in those without (the published ones). */
const BEGINNINGS = ["transformer.", ""] as const;

/**
 * GPT-2: learned positions instead of ropes, norms by mean and variance, biases everywhere, and weights that are stored (in, out).
 * Sequences of more tokens than there are positions are refused. Adapters say `fan_in_fan_out`; merges and whole models have its layout.
 */
export const gpt2: Architecture = {
  type: "gpt2",
  title: "GPT-2",
  targets: ["c_attn"],
  gguf: { name: "gpt2", transformers: "GPT2LMHeadModel" },
  settings: ({ n_embd, n_layer, n_head, n_positions, n_inner, activation_function, layer_norm_epsilon, ...json }) => {
    const hidden = n_embd ?? json["hidden_size"] ?? 768;
    return {
      vocab_size: 50_257,
      ...json,
      hidden_size: hidden,
      num_hidden_layers: n_layer ?? json["num_hidden_layers"] ?? 12,
      num_attention_heads: n_head ?? json["num_attention_heads"] ?? 12,
      max_position_embeddings: n_positions ?? json["max_position_embeddings"],
      intermediate_size: n_inner ?? 4 * Number(hidden),
      hidden_act: activation_function,
      layer_norm_eps: layer_norm_epsilon,
      // It has no others; what a file says beside is not read there.
      head_dim: undefined,
      num_key_value_heads: undefined,
    };
  },
  describe(json) {
    const epsilon = json.layer_norm_eps ?? 1e-5;
    const sizes = sizesOf(json, { contextLength: 1024, epsilon, activation: "gelu_new" });
    const { hidden, headSize, contextLength } = sizes;
    const norm = (name: string) => layerNorm(name, hidden, epsilon);
    const usual = json.scale_attn_weights === false ? 1 : 1 / Math.sqrt(headSize);
    const described = decoder(json, sizes, {
      names: { embedding: "wte", layers: "h" },
      ropes: [noRope(headSize)],
      layer(path, index) {
        const scale = json.scale_attn_by_inverse_layer_idx === true ? usual / (index + 1) : usual;
        const names = { names: ["c_attn"], outputName: "c_proj", qkvBias: true, outputBias: true } as const;
        return linearsTransposed([
          { before: norm(`${path}.ln_1`), mixer: attention(`${path}.attn`, sizes, { scale, ...names }) },
          { before: norm(`${path}.ln_2`), mixer: plainMlp(`${path}.mlp`, sizes, ["c_fc", "c_proj"], true) },
        ]);
      },
      norm: norm("ln_f"),
      tied: true,
    });
    const positions = plannedMatrix(hidden, ["wpe.weight", [contextLength, hidden]]);
    return behindEither({ ...described, positions }, (name, at) => {
      return name === UNTIED_HEAD ? name : `${BEGINNINGS[at]}${name}`;
    });
  },
};
