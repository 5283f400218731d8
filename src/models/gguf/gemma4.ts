// What a GGUF file says of Gemma 4's layers, of which llama.cpp has two kinds: those that see a window, and those that see all tokens.
import type { GgufValue } from "../../files/gguf/format.ts";
import type { GgufHeader } from "../../files/gguf/header.ts";
import type { GgufFields } from "../../files/gguf/metadata.ts";
import type { Attention } from "../blocks/attention.ts";
import type { RopeJson } from "../decoder/config-file.ts";
import { attentionsOf, type DecoderConfig } from "../decoder/config.ts";
import type { PlannedMatrix } from "../tensor-plan.ts";
import { INNER, KV_HEADS, SLIDING_HEAD, WINDOWS } from "./fields.ts";
import { layersIn, ofLayers, shortest } from "./layers.ts";
import { STAYS } from "./rope-factors.ts";

const ARCH = "gemma4";
/** llama.cpp's soft cap of logits where a file says none. */
const USUAL_CAP = 30;

/** Layers that see a window turn by a rope of their own. */
const slidesIn = ({ rope }: Attention<PlannedMatrix>) => rope === 1;

/** Which layers see a window; their heads of keys and neurons, where these differ. */
export function gemma4Layers(config: DecoderConfig): [string, GgufValue][] {
  const attentions = attentionsOf(config);
  const neurons = config.layers.map((layer) => {
    const mlps = layer.map(({ mixer }) => (mixer.kind === "experts" ? mixer.beside?.mlp : mixer));
    return mlps.reduce((inner, mlp) => (mlp?.kind === "mlp" ? mlp.output.weight.cols : inner), 0);
  });
  const lists = [
    [KV_HEADS, attentions.map(({ kvHeads }) => kvHeads)],
    [INNER, neurons],
  ] as const;
  return [
    [WINDOWS, { kind: "array", of: "bool", value: attentions.map(slidesIn) }],
    ...lists.flatMap(([key, value]): [string, GgufValue][] =>
      new Set(value).size > 1 ? [[key, { kind: "array", of: "i32", value }]] : [],
    ),
  ];
}

/** What llama.cpp has no setting for: it lets the last layers attend with the keys of the last two that have any, one of each kind. */
export function checkGemma4(config: DecoderConfig, refuse: (what: string) => never): void {
  const attentions = attentionsOf(config);
  for (const [slides, seen] of [
    [true, "a window"],
    [false, "all tokens"],
  ] as const) {
    const kind = attentions.filter((attention) => slidesIn(attention) === slides);
    if (kind.length === 0) refuse(`no layers that see ${seen}`);
    if (slides && kind.some(({ window }) => window === Infinity)) refuse("no sliding window");
    const kvHeads = new Set(kind.map((one) => one.kvHeads));
    if (kvHeads.size > 1) refuse(`${[...kvHeads].join(" and ")} heads of keys in layers that see ${seen}`);
  }
  const own = attentions.filter(({ keysOf }) => keysOf === undefined).length;
  const other = attentions.find((one) => one.keysOf !== undefined && one.keysOf !== own - (slidesIn(one) ? 2 : 1));
  if (other !== undefined) refuse(`layers that attend with the keys of layer ${other.keysOf}`);
  const rows = config.layerTable?.parts[0]?.stored[0] ?? config.vocabularySize;
  if (rows !== config.vocabularySize) refuse(`inputs of layers for ${rows} of ${config.vocabularySize} tokens`);
}

/**
 * The settings of config.json on layers.
 * @throws RandloraError `model` for layers that no config.json says
 */
export function readGemma4(fields: GgufFields, { tensors }: GgufHeader, fullHead: number): object {
  const { own: count } = layersIn(fields, ARCH);
  const slides = ofLayers(fields, ARCH, WINDOWS, fields.booleans(`${ARCH}.${WINDOWS}`)).map((one) => one !== 0);
  const listed = (key: string) => {
    const said = fields.numberOrList(`${ARCH}.${key}`);
    return typeof said === "number" ? slides.map(() => said) : ofLayers(fields, ARCH, key, said);
  };
  const [heads, neurons] = [listed(KV_HEADS), listed(INNER)];
  const shared = fields.number(`${ARCH}.attention.shared_kv_layers`) ?? 0;
  const own = count - shared;
  const inner = neurons[0] ?? 0;
  const isWide = shared > 0 && neurons.at(-1) === 2 * inner;
  const [kvHeads, fullHeads] = [true, false].map((kind) => heads[slides.indexOf(kind)]);
  const isAsSaid =
    slides.at(-1) === false &&
    [shared, inner, fullHeads, kvHeads ?? fullHeads].every(Number.isSafeInteger) &&
    shared >= 0 &&
    shared < count &&
    slides.slice(own).every((one) => slides[own - (one ? 2 : 1)] === one) &&
    neurons.every((one, layer) => one === (isWide && layer >= own ? 2 * inner : inner)) &&
    heads.every((one, layer) => one === (slides[layer] === true ? kvHeads : fullHeads));
  if (!isAsSaid) fields.refuse("layers of other kinds or sizes than Gemma 4 has", "give the model's folder");
  const valuesAreKeys = !tensors.has(`blk.${slides.indexOf(false)}.attn_v.weight`);
  // Where values are no keys, transformers takes other heads of keys from a setting of single layers alone.
  const isOfLayers = !valuesAreKeys && kvHeads !== undefined && kvHeads !== fullHeads;
  const ofFull = { head_dim: fullHead, num_key_value_heads: fullHeads };
  return {
    layer_types: slides.map((one) => (one ? "sliding_attention" : "full_attention")),
    head_dim: fields.need(fields.number(`${ARCH}.${SLIDING_HEAD}`), `${ARCH}.${SLIDING_HEAD}`),
    global_head_dim: fullHead,
    num_key_value_heads: kvHeads ?? fullHeads,
    num_global_key_value_heads: fullHeads,
    attention_k_eq_v: valuesAreKeys,
    ...(isOfLayers && {
      per_layer_config: Object.fromEntries(slides.flatMap((one, layer) => (one ? [] : [[layer, ofFull]]))),
    }),
    intermediate_size: inner,
    use_double_wide_mlp: isWide,
    num_kv_shared_layers: shared,
    final_logit_softcapping: shortest(fields.number(`${ARCH}.final_logit_softcapping`) ?? USUAL_CAP) || null,
    vocab_size_per_layer_input: tensors.get("per_layer_token_embd.weight")?.shape[0],
  };
}

/**
 * How its heads turn: of layers that see all tokens the first pairs, by what the file divides the others' angles by.
 * @throws RandloraError `model` for factors that no such rope has
 */
export function gemma4Ropes(
  factors: Float32Array | undefined,
  fullHead: number,
  settings: Readonly<Record<string, unknown>>,
  fields: GgufFields,
): object {
  const given = factors ?? fields.refuse('tensor "rope_freqs.weight" is missing', "the file is incomplete");
  const first = given.findIndex((one) => one >= STAYS);
  const pairs = first < 0 ? given.length : first;
  const factor = pairs === 0 ? 1 : (given[0] ?? 1);
  const isProportional = given.every((one, pair) => (pair < pairs ? one === factor : one >= STAYS));
  if (given.length !== fullHead / 2 || !isProportional || factor <= 0) {
    fields.refuse("factors of RoPE that are not Gemma 4's", "give the model's folder, whose config.json says them");
  }
  const { rope_theta: theta, rope_local_base_freq: slidingTheta } = settings;
  const full = {
    rope_type: "proportional",
    // Rounded up: the number of pairs is rounded down where it is read.
    partial_rotary_factor: Math.ceil((2e6 * pairs) / fullHead) / 1e6,
    ...(factor === 1 ? {} : { factor: shortest(factor) }),
    rope_theta: Number(fields.need(theta, `${ARCH}.rope.freq_base`)),
  } satisfies RopeJson;
  const sliding = {
    rope_type: "default",
    rope_theta: Number(fields.need(slidingTheta, `${ARCH}.rope.freq_base_swa`)),
  };
  return { rope_parameters: { full_attention: full, sliding_attention: sliding } };
}
