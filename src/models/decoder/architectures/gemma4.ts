import { RandloraError } from "../../../files/errors.ts";
import type { ConfigJson } from "../config-file.ts";
import { attention, gatedMlp, plainNorm, rmsNorm } from "../parts.ts";
import { ropesByLayerType } from "../rope-json.ts";
import { spreadNumber } from "../../tensor-plan.ts";
import {
  activationNamed,
  type Architecture,
  decoder,
  isSliding,
  type ModelSizes,
  sizesOf,
  withDefault,
} from "./common.ts";

/** What transformers takes where config.json does not say it. */
export const GEMMA4_SIZES = {
  vocab_size: 262_144,
  hidden_size: 2304,
  intermediate_size: 9216,
  num_hidden_layers: 30,
  num_attention_heads: 8,
};

const ROPES = {
  full_attention: { rope_type: "proportional", partial_rotary_factor: 0.25, rope_theta: 1_000_000 },
  sliding_attention: { rope_type: "default", rope_theta: 10_000 },
};
const THETAS = { full: 1_000_000, sliding: 10_000 };

/**
 * Gemma 4, text: heads of q, k and v are normalized, those of v without weights; layers that see all tokens have wider heads, of which
 * a part turns, and perhaps take their keys for values; each layer's result is multiplied by a number of the checkpoint.
 */
export const gemma4Text: Architecture = {
  type: "gemma4_text",
  title: "Gemma 4 31B (its text)",
  describe(json) {
    refuseWhatIsMissing(json);
    const activation = activationNamed(json.hidden_activation ?? "gelu_pytorch_tanh");
    const defaults = { contextLength: 131_072, epsilon: 1e-6, headSize: 256, kvHeads: 4 };
    const sizes = { ...sizesOf(json, defaults), activation };
    const { hidden, epsilon } = sizes;
    const layers = Array.from({ length: json.num_hidden_layers }, (_, index) => layerOf(json, sizes, index));
    const headSizeOf = (slides: boolean): number => {
      const [first = sizes.headSize, ...others] = new Set(
        layers.flatMap((layer) => (layer.slides === slides ? [layer.headSize] : [])),
      );
      if (others.length === 0) return first;
      throw new RandloraError("model", "per_layer_config: layers of one type have heads of different sizes");
    };
    const [full, sliding] = [headSizeOf(false), headSizeOf(true)];
    const ropesFor = (headSize: number) =>
      ropesByLayerType({ ...json, rope_parameters: json.rope_parameters ?? ROPES }, { ...sizes, headSize }, THETAS);
    const seesAll = { valueNorm: plainNorm(full, epsilon) };
    const seesWindow = {
      valueNorm: plainNorm(sliding, epsilon),
      window: withDefault(json.sliding_window, 512) ?? Infinity,
      rope: 1,
    };
    const bias = json.attention_bias ?? false;
    return decoder(json, sizes, {
      embeddingScale: Math.sqrt(hidden),
      ropes: [ropesFor(full).full, ropesFor(sliding).sliding],
      tied: true,
      logitSoftcap: json.final_logit_softcapping ?? undefined,
      layer(path, index) {
        const { slides, ...own } = layerOf(json, sizes, index);
        const norm = (name: string, size = hidden) => rmsNorm(`${path}.${name}`, size, epsilon);
        const valuesAreKeys = json.attention_k_eq_v === true && !slides;
        return [
          {
            before: norm("input_layernorm"),
            mixer: attention(
              `${path}.self_attn`,
              { ...sizes, ...own },
              {
                ...(slides ? seesWindow : seesAll),
                ...(valuesAreKeys ? { names: ["q_proj", "k_proj"] } : {}),
                scale: 1,
                queryNorm: norm("self_attn.q_norm", own.headSize),
                keyNorm: norm("self_attn.k_norm", own.headSize),
                qkvBias: bias,
                outputBias: bias,
              },
            ),
            after: norm("post_attention_layernorm"),
          },
          {
            before: norm("pre_feedforward_layernorm"),
            mixer: gatedMlp(`${path}.mlp`, sizes),
            after: norm("post_feedforward_layernorm"),
            whole: spreadNumber(`${path}.layer_scalar`, hidden),
          },
        ];
      },
    });
  },
};

/** @throws RandloraError `model` */
function refuseWhatIsMissing(json: ConfigJson): void {
  const refuse = (what: string, hint: string) => {
    throw new RandloraError("model", `${what} is not supported`, hint);
  };
  const dense = "the dense models of Gemma 4 that have none of it can be run";
  if (json.use_bidirectional_attention === true || json.use_bidirectional_attention === "all") {
    refuse("use_bidirectional_attention", "a model that writes texts attends backwards only");
  }
  if (json.enable_moe_block === true) refuse("Gemma 4's mixture of experts (enable_moe_block)", dense);
  if ((json.hidden_size_per_layer_input ?? 256) > 0) {
    refuse("embeddings of each layer (hidden_size_per_layer_input)", dense);
  }
  if (json.rope_parameters && !json.rope_parameters.full_attention) {
    refuse("rope_parameters without full_attention", "transformers has none either: fetch config.json again");
  }
  if ((json.num_kv_shared_layers ?? 0) > 0) refuse("keys shared among layers (num_kv_shared_layers)", dense);
}

/** Whether layer number `index` sees a window alone, and its sizes: by its number, else those that layers which see all tokens have. */
function layerOf(json: ConfigJson, sizes: ModelSizes, index: number) {
  // The last one sees all tokens, whatever is said of it.
  const slides = index + 1 < json.num_hidden_layers && isSliding(json, index, (index + 1) % 6 !== 0);
  const { headSize, kvHeads } = sizes;
  if (json.per_layer_config) {
    const own = json.per_layer_config.get(index);
    return { slides, headSize: own?.head_dim ?? headSize, kvHeads: own?.num_key_value_heads ?? kvHeads };
  }
  if (slides) return { slides, headSize, kvHeads };
  const heads = json.attention_k_eq_v === true ? json.num_global_key_value_heads : undefined;
  return { slides, headSize: json.global_head_dim ?? 512, kvHeads: heads ?? kvHeads };
}
