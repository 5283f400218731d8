import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import type { Experts } from "../../blocks/experts.ts";
import type { Mlp } from "../../blocks/mlp.ts";
import type { PlannedMatrix } from "../../tensor-plan.ts";
import type { DecoderConfig } from "../config.ts";
import type { ConfigJson } from "../config-file.ts";
import { experts } from "../experts.ts";
import { attention, convolution, gatedMlp, MOST_TAPS, rmsNorm, type Sizes } from "../parts.ts";
import { ropeOf } from "../rope-json.ts";
import { type Architecture, decoder, type ModelSizes, routingOf, sizesOf, withDefault } from "./common.ts";

/** LFM2: short convolutions in most layers, attention with norms of the heads of q and k in some. */
export const lfm2: Architecture = {
  type: "lfm2",
  title: "LFM2",
  gguf: { name: "lfm2", transformers: "Lfm2ForCausalLM", lastNorm: "token_embd_norm" },
  targets: ["q_proj", "v_proj", "in_proj"],
  // Liquid's own files call some settings otherwise, and those go before.
  settings: ({ block_ff_dim, ...json }) => ({
    ...lfm2Settings(json),
    intermediate_size: block_ff_dim ?? json["intermediate_size"],
  }),
  describe(json) {
    const sizes = lfm2Sizes(json);
    return describeLfm2(json, sizes, (path) => lfm2Mlp(path, { ...sizes, inner: innerOf(json, sizes.inner) }));
  },
};

/** The settings that LFM2's files call otherwise, by their usual names. */
function lfm2Settings({ norm_eps, tie_embedding, ...json }: Readonly<Record<string, unknown>>) {
  return { ...json, rms_norm_eps: norm_eps, tie_word_embeddings: tie_embedding ?? json["tie_word_embeddings"] };
}

function lfm2Sizes(json: ConfigJson): ModelSizes {
  return sizesOf(json, { contextLength: 128_000, epsilon: 1e-5, kvHeads: 8 });
}

/** The MLP of layers that have no experts. */
function lfm2Mlp(layer: string, sizes: Sizes): Mlp<PlannedMatrix> {
  return gatedMlp(`${layer}.feed_forward`, sizes, { names: ["w1", "w3"], outputName: "w2" });
}

/** @param feedForward what layer number `index` has behind its convolution or attention, below `path` */
function describeLfm2(
  json: ConfigJson,
  sizes: ModelSizes,
  feedForward: (path: string, index: number) => Mlp<PlannedMatrix> | Experts<PlannedMatrix>,
): DecoderConfig {
  const { hidden, headSize, epsilon } = sizes;
  const taps = json.conv_L_cache ?? 3;
  if (taps > MOST_TAPS) throw new RandloraError("model", `convolutions over ${taps} positions are not supported`);
  const types = Array.from({ length: json.num_hidden_layers }, (_, index) => isConvolution(json, index));
  if (types.every((isOne) => isOne)) throw new RandloraError("model", "a model without attention is not supported");
  return decoder(json, sizes, {
    ropes: [ropeOf(json, { ...sizes, theta: 1_000_000 })],
    norm: rmsNorm("model.embedding_norm", hidden, epsilon),
    tied: true,
    layer(path, index) {
      const norm = (name: string, size = hidden) => rmsNorm(`${path}.${name}`, size, epsilon);
      const mixer = types[index]
        ? convolution(`${path}.conv`, hidden, taps, json.conv_bias ?? false)
        : attention(`${path}.self_attn`, sizes, {
            outputName: "out_proj",
            queryNorm: norm("self_attn.q_layernorm", headSize),
            keyNorm: norm("self_attn.k_layernorm", headSize),
          });
      return [
        { before: norm("operator_norm"), mixer },
        { before: norm("ffn_norm"), mixer: feedForward(path, index) },
      ];
    },
  });
}

/** By `layer_types`, or by which layers have attention: all, where nothing is said. @throws RandloraError `model` for another type */
function isConvolution(json: ConfigJson, index: number): boolean {
  const type = json.layer_types?.[index];
  if (type === undefined) return json.full_attn_idxs?.includes(index) === false;
  if (type === "conv" || type === "full_attention") return type === "conv";
  throw new RandloraError("model", `layers of type ${quote(type)} are not supported`);
}

/** Neurons of the MLPs: two thirds of what is said, times a factor, up to a multiple, unless that is meant as it is. */
function innerOf(json: ConfigJson, said: number): number {
  if (json.block_auto_adjust_ff_dim === false) return said;
  const third = Math.floor((2 * said) / 3);
  const factor = withDefault(json.block_ffn_dim_multiplier, 1);
  const multiple = json.block_multiple_of ?? 256;
  const inner = factor === undefined ? third : multiple * Math.ceil(Math.floor(factor * third) / multiple);
  if (Number.isSafeInteger(inner) && inner > 0) return inner;
  throw new RandloraError("model", `MLPs of ${inner} neurons cannot be`, "this model cannot be run");
}

/** LFM2 with mixtures of experts (8B-A1B) behind its first layers, weighted by the logistic function of their logits. */
export const lfm2Moe: Architecture = {
  type: "lfm2_moe",
  title: "LFM2 MoE",
  gguf: { name: "lfm2moe", transformers: "Lfm2MoeForCausalLM", lastNorm: "token_embd_norm" },
  ...(lfm2.targets && { targets: lfm2.targets }),
  settings: lfm2Settings,
  describe(json) {
    const sizes = lfm2Sizes(json);
    const routing = {
      ...routingOf(json, { count: 32, chosen: 4, amongChosen: json.norm_topk_prob ?? true }),
      logistic: true,
      factor: json.routed_scaling_factor ?? 1,
    };
    const inner = json.moe_intermediate_size ?? 1792;
    const dense = json.num_dense_layers ?? 2;
    const path = "feed_forward";
    const names = { router: "gate.weight", gate: "w1", up: "w3", down: "w2" };
    const selection = (json.use_expert_bias ?? true) ? { selection: "expert_bias" } : {};
    return describeLfm2(json, sizes, (layer, index) =>
      index < dense
        ? lfm2Mlp(layer, sizes)
        : experts(layer, { ...sizes, inner }, routing, { path, names, fused: { path }, ...selection }),
    );
  },
};
