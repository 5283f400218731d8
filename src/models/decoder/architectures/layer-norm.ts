import { noRope } from "../../blocks/rope.ts";
import { behindEither, linearsTransposed } from "../../description.ts";
import { plannedMatrix } from "../../tensor-plan.ts";
import { attention, gatedMlp, layerNorm, plainMlp } from "../parts.ts";
import { UNTIED_HEAD } from "../weight-plan.ts";
import { type Architecture, decoder, isSlidingButEvery, llamaLayer, sizesOf, withDefault } from "./common.ts";
import { ropeOf } from "../rope-json.ts";
import { RandloraError } from "../../../files/errors.ts";

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

/** StarCoder 2: norms by mean and variance, an MLP without a gate, and biases everywhere unless `use_bias` is off. */
export const starcoder2: Architecture = {
  type: "starcoder2",
  title: "StarCoder 2",
  gguf: { name: "starcoder2", transformers: "Starcoder2ForCausalLM" },
  describe(json) {
    const epsilon = json.norm_epsilon ?? 1e-5;
    const sizes = sizesOf(json, { contextLength: 4096, epsilon, kvHeads: 2, activation: "gelu_pytorch_tanh" });
    const bias = json.use_bias ?? true;
    const norm = (name: string) => layerNorm(name, sizes.hidden, epsilon);
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path) => [
        {
          before: norm(`${path}.input_layernorm`),
          mixer: attention(`${path}.self_attn`, sizes, {
            window: json.sliding_window ?? Infinity,
            qkvBias: bias,
            outputBias: bias,
          }),
        },
        {
          before: norm(`${path}.post_attention_layernorm`),
          mixer: plainMlp(`${path}.mlp`, sizes, ["c_fc", "c_proj"], bias),
        },
      ],
      norm: norm("model.norm"),
      tied: true,
    });
  },
};

/** Cohere 2 (Command R7B, Command A): attention and MLP read one norm; three of four layers have a window, and only what has one a rope. */
export const cohere2: Architecture = {
  type: "cohere2",
  title: "Command R7B and Command A",
  gguf: { name: "cohere2", transformers: "Cohere2ForCausalLM" },
  describe(json) {
    const epsilon = json.layer_norm_eps ?? 1e-5;
    const sizes = sizesOf(json, { contextLength: 8192, epsilon });
    const window = withDefault(json.sliding_window, 4096);
    const bias = json.attention_bias ?? false;
    const norm = (name: string) => layerNorm(name, sizes.hidden, epsilon, false);
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes), noRope(sizes.headSize)],
      layer(path, index) {
        const before = norm(`${path}.input_layernorm`);
        const slides = isSlidingButEvery(json, index, 4) && window !== undefined;
        const sight = slides ? { window } : { rope: 1 };
        const parts = { neighbors: true, qkvBias: bias, outputBias: bias, ...sight };
        return [
          { before, mixer: attention(`${path}.self_attn`, sizes, parts) },
          { before, mixer: gatedMlp(`${path}.mlp`, sizes), parallel: true },
        ];
      },
      norm: norm("model.norm"),
      logitScale: json.logit_scale ?? 0.0625,
      tied: true,
    });
  },
};

/** Cohere (Command R): as Cohere 2, with a rope and all tokens in each layer. */
export const cohere: Architecture = {
  type: "cohere",
  title: "Command R",
  describe(json) {
    if (json.use_qk_norm === true) {
      throw new RandloraError(
        "model",
        "use_qk_norm (Command R+) is not supported: each of its heads has weights of its own",
      );
    }
    // Cohere 2 turns what has a window.
    const layer_types = Array.from({ length: json.num_hidden_layers }, () => "sliding_attention");
    const all = { ...json, layer_types, sliding_window: Infinity, rope_theta: json.rope_theta ?? 500_000 };
    return cohere2.describe(all);
  },
};
