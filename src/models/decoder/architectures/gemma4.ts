import { RandloraError } from "../../../files/errors.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { ConfigJson } from "../config-file.ts";
import { experts } from "../experts.ts";
import { attention, gatedMlp, output, plainNorm, rmsNorm, type Sizes, weights } from "../parts.ts";
import { ropesByLayerType } from "../rope-json.ts";
import { type PlannedMatrix, plannedVector, spreadNumber, tableInFile } from "../../tensor-plan.ts";
import {
  activationNamed,
  type Architecture,
  decoder,
  isSliding,
  type ModelSizes,
  routingOf,
  sizesOf,
  withDefault,
} from "./common.ts";
import type { Experts } from "../../blocks/experts.ts";
import type { LayerInput } from "../../blocks/layer-input.ts";
import type { DecoderConfig } from "../config.ts";

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
 * a part turns, and perhaps take their keys for values; the last layers may attend with the keys and values of the last one before them of their
 * type; each layer may have experts beside its MLP (26B-A4B), and may read a part of a row that each token has for all layers (E2B and E4B);
 * its result is multiplied by a number of the checkpoint. No method trains the table of those rows, nor that number.
 */
export const gemma4Text: Architecture = {
  type: "gemma4_text",
  title: "Gemma 4 E2B, E4B, 26B-A4B and 31B (their text)",
  gguf: { name: "gemma4", transformers: "Gemma4ForCausalLM" },
  describe(json) {
    refuseWhatIsMissing(json);
    const activation = activationNamed(json.hidden_activation ?? "gelu_pytorch_tanh");
    const defaults = { contextLength: 131_072, epsilon: 1e-6, headSize: 256, kvHeads: 4 };
    const sizes = { ...sizesOf(json, defaults), activation };
    const { hidden, epsilon } = sizes;
    const layers = layersOf(json, sizes);
    const expertsOf = gemma4Experts(json);
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
    const seesWindow = { window: withDefault(json.sliding_window, 512) ?? Infinity, rope: 1 };
    const bias = json.attention_bias ?? false;
    const inputSize = withDefault(json.hidden_size_per_layer_input, 256) ?? 0;
    const vocabulary = json.vocab_size_per_layer_input ?? GEMMA4_SIZES.vocab_size;
    if (inputSize > 0 && vocabulary < json.vocab_size) {
      const cause = `vocab_size_per_layer_input: ${vocabulary} tokens of ${json.vocab_size} have inputs of layers`;
      throw new RandloraError("model", cause, "this model cannot be run");
    }
    return decoder(json, sizes, {
      ...(inputSize === 0 ? {} : layerInputs(sizes, { layers: layers.length, size: inputSize, vocabulary })),
      // Published files have what makes keys and values of all layers; transformers leaves aside what none of them needs.
      otherParts: layers.flatMap(({ keysOf }, index) =>
        keysOf === undefined ? [] : MADE_OF_KEYS.map((name) => `model.layers.${index}.self_attn.${name}.`),
      ),
      embeddingScale: Math.sqrt(hidden),
      ropes: [ropesFor(full).full, ropesFor(sliding).sliding],
      tied: true,
      logitSoftcap: json.final_logit_softcapping ?? undefined,
      layer(path, index) {
        const { slides, keysOf, ...own } = itemAt(layers, index);
        const norm = (name: string, size = hidden) => rmsNorm(`${path}.${name}`, size, epsilon);
        const valuesAreKeys = json.attention_k_eq_v === true && !slides;
        const ownKeys = {
          keyNorm: norm("self_attn.k_norm", own.headSize),
          valueNorm: plainNorm(own.headSize, epsilon),
        };
        const whole = spreadNumber(`${path}.layer_scalar`, hidden);
        const isWide = json.use_double_wide_mlp === true && keysOf !== undefined;
        const wide = isWide ? { ...sizes, inner: 2 * sizes.inner } : sizes;
        return [
          {
            before: norm("input_layernorm"),
            mixer: attention(
              `${path}.self_attn`,
              { ...sizes, ...own },
              {
                ...(slides ? seesWindow : {}),
                ...(valuesAreKeys ? { names: ["q_proj", "k_proj"] } : {}),
                ...(keysOf === undefined ? ownKeys : { keysOf }),
                scale: 1,
                queryNorm: norm("self_attn.q_norm", own.headSize),
                qkvBias: bias,
                outputBias: bias,
              },
            ),
            after: norm("post_attention_layernorm"),
          },
          {
            before: norm(expertsOf ? "pre_feedforward_layernorm_2" : "pre_feedforward_layernorm"),
            mixer: expertsOf?.(path, wide) ?? gatedMlp(`${path}.mlp`, wide),
            after: norm("post_feedforward_layernorm"),
            ...(inputSize === 0 ? { whole } : {}),
          },
          ...(inputSize === 0
            ? []
            : [
                {
                  before: undefined,
                  mixer: layerInput(path, sizes, inputSize, index),
                  after: norm("post_per_layer_input_norm"),
                  whole,
                },
              ]),
        ];
      },
    });
  },
};

/** Modules that a layer has none of where it attends with the keys of another one. */
const MADE_OF_KEYS = ["k_proj", "v_proj", "k_norm", "v_norm"];

/** @throws RandloraError `model` */
function refuseWhatIsMissing(json: ConfigJson): void {
  const refuse = (what: string, hint: string) => {
    throw new RandloraError("model", `${what} is not supported`, hint);
  };
  if (json.use_bidirectional_attention === true || json.use_bidirectional_attention === "all") {
    refuse("use_bidirectional_attention", "a model that writes texts attends backwards only");
  }
  if (json.rope_parameters && !json.rope_parameters.full_attention) {
    refuse("rope_parameters without full_attention", "transformers has none either: fetch config.json again");
  }
}

/**
 * What the layers see, their sizes, and whose keys and values they attend with.
 * @throws RandloraError `model` for layers that are to attend with keys that no layer has
 */
function layersOf(json: ConfigJson, sizes: ModelSizes) {
  const layers = Array.from({ length: json.num_hidden_layers }, (_, index) => layerOf(json, sizes, index));
  const own = layers.slice(0, Math.max(0, layers.length - (json.num_kv_shared_layers ?? 0)));
  const last = [true, false].map((slides) => own.findLastIndex((layer) => layer.slides === slides));
  return layers.map((layer, index) => {
    if (index < own.length) return { ...layer, keysOf: undefined };
    const keysOf = last[layer.slides ? 0 : 1] ?? -1;
    if (own[keysOf]?.kvHeads === layer.kvHeads) return { ...layer, keysOf };
    const type = layer.slides ? "sliding_attention" : "full_attention";
    const cause = `num_kv_shared_layers is ${json.num_kv_shared_layers} of ${layers.length} layers: none before them of ${type} has the keys of layer ${index}`;
    throw new RandloraError("model", cause, "this model cannot be run");
  });
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

/** Files have tensors of all experts, beside the MLP. */
const NAMES = { router: "router.proj.weight", gateUp: "experts.gate_up_proj", down: "experts.down_proj" };

/**
 * The experts of Gemma 4 26B-A4B, of the layer `path` with an MLP of these sizes beside them: MLP, experts and router read a norm of
 * their own each; undefined: there are none. `full` trains the router's norm and factors as well. A target's name (`up_proj`) means the
 * MLP's module, as in PEFT; a regular expression also means the experts'. `all-linear` includes `router.proj`, as in PEFT.
 * @throws RandloraError `model` for numbers that are missing or cannot be
 */
function gemma4Experts(json: ConfigJson): ((path: string, sizes: ModelSizes) => Experts<PlannedMatrix>) | undefined {
  if (json.enable_moe_block !== true) return undefined;
  for (const name of ["num_experts", "top_k_experts", "moe_intermediate_size"] as const) {
    if ((json[name] ?? undefined) !== undefined) continue;
    throw new RandloraError("model", `enable_moe_block without ${name}`, "fetch config.json again");
  }
  const inner = json.moe_intermediate_size ?? NaN;
  const asked = { ...json, num_experts_per_tok: json.top_k_experts };
  const routing = routingOf(asked, { count: 128, chosen: 8, amongChosen: true });
  return (path, sizes) => {
    const { hidden, epsilon } = sizes;
    const norm = (name: string) => rmsNorm(`${path}.${name}`, hidden, epsilon);
    const vector = (name: string, size: number) => plannedVector([`${path}.router.${name}`, [size]]);
    return {
      ...experts(path, { ...sizes, inner }, routing, { path: "", names: NAMES, fused: { ...NAMES, path: "" } }),
      routerNorm: { kind: "rms", weight: vector("scale", hidden), epsilon, offset: 0 },
      logitScale: 1 / Math.sqrt(hidden),
      scales: vector("per_expert_scale", routing.count),
      beside: {
        before: norm("pre_feedforward_layernorm"),
        mlp: gatedMlp(`${path}.mlp`, sizes),
        after: norm("post_feedforward_layernorm_1"),
        afterExperts: norm("post_feedforward_layernorm_2"),
      },
    };
  };
}

/** What every layer reads of each token beside the stream, `size` elements: a table for all layers, and a projection of embeddings. */
function layerInputs(
  { hidden, epsilon }: Sizes,
  { layers, size, vocabulary }: { readonly layers: number; readonly size: number; readonly vocabulary: number },
): Required<Pick<DecoderConfig, "layerInputs" | "layerTable">> {
  const cols = layers * size;
  return {
    layerTable: tableInFile(cols, ["model.embed_tokens_per_layer.weight", [vocabulary, cols]]),
    layerInputs: {
      projection: weights(hidden, [["model.per_layer_model_projection", cols]]),
      // What is projected is divided by √hidden first: the same comes of an ε that is larger by hidden.
      norm: rmsNorm("model.per_layer_projection_norm", size, epsilon * hidden),
      scale: Math.sqrt(size),
    },
  };
}

/** What layer number `index`, whose modules are below `path`, makes of it. */
function layerInput(
  path: string,
  { hidden, activation }: Sizes,
  size: number,
  index: number,
): LayerInput<PlannedMatrix> {
  return {
    kind: "layer-input",
    activation,
    gate: weights(hidden, [[`${path}.per_layer_input_gate`, size]]),
    first: index * size,
    output: output([`${path}.per_layer_projection`, hidden], size, false),
  };
}
