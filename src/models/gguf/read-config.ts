import { quote } from "../../files/failure.ts";
import type { GgufType } from "../../files/gguf/format.ts";
import { GgufFields } from "../../files/gguf/metadata.ts";
import type { GgufFile } from "../../files/gguf/reader.ts";
import { fieldsOf, INNER, KV_HEADS, WINDOWS } from "./fields.ts";
import { readGemma4 } from "./gemma4.ts";
import { layersIn, ofLayers, shortest } from "./layers.ts";
import type { Architecture } from "../decoder/architectures/common.ts";
import { ARCHITECTURES } from "../decoder/architectures/index.ts";
import { MOST_LAYERS } from "../decoder/config-file.ts";
import { ROPE_KEYS } from "./metadata.ts";
import { readRope } from "./read-rope.ts";
import { GEMMA_27B } from "./refusals.ts";

/**
 * The config.json of the model in a GGUF file: what the numbers of {@link fieldsOf} and its tensors say.
 * @throws RandloraError `model` for another kind of model or file, `format` for metadata that is missing or of another type
 */
export async function readGgufConfig(file: GgufFile): Promise<Readonly<Record<string, unknown>>> {
  const { path, header } = file;
  const { tensors } = header;
  const fields = new GgufFields(header.metadata, path);
  const arch = fields.need(fields.string("general.architecture"), "general.architecture");
  const isMixture = (fields.number(`${arch}.expert_count`) ?? 0) > 0;
  const window = fields.number(`${arch}.attention.sliding_window`);
  const { type, gguf } = architectureIn(arch, isMixture, window !== undefined, hasRope(fields, arch)) ?? {};
  const supported = `supported: ${[...new Set(ARCHITECTURES.flatMap((one) => one.gguf?.name ?? []))].join(", ")}`;
  if (fields.string("general.type") === "adapter") {
    const hint = "give the model's file or folder, and as --adapter the PEFT folder that this is made of";
    fields.refuse("an adapter, not a model", hint);
  }
  if (type === undefined) return fields.refuse(`models of architecture ${quote(arch)} cannot be run`, supported);
  if ((fields.number("split.count") ?? 1) > 1) {
    fields.refuse("one part of a split model", "join the parts: llama-gguf-split --merge FIRST-PART OUT.gguf");
  }
  const settings: Record<string, unknown> = {};
  // Of models that have attention in some layers, by layer.
  const kvHeads = type.startsWith("lfm2")
    ? ofLayers(fields, arch, KV_HEADS, fields.numbers(`${arch}.${KV_HEADS}`))
    : undefined;
  const need = (key: string) => fields.need(fields.number(`${arch}.${key}`), `${arch}.${key}`);
  const isGemma4 = type === "gemma4_text";
  if ((isGemma4 || type === "gpt_oss") && need("attention.sliding_window") === 0) {
    fields.refuse("a sliding window of no tokens", "download it again");
  }
  const isPeriod = type === "gpt_oss" && !fields.isList(`${arch}.${WINDOWS}`);
  const period = isPeriod ? fields.number(`${arch}.${WINDOWS}`) : undefined;
  if (period !== undefined && period !== 2)
    fields.refuse(`a sliding window in all but each layer ${period}`, supported);
  const ofEachLayer = isGemma4 ? [INNER, KV_HEADS] : kvHeads === undefined ? [] : [KV_HEADS];
  for (const { key, kind, setting } of fieldsOf(arch)) {
    if (ofEachLayer.includes(key)) continue;
    // llama.cpp's converter says it of each layer of Granite 4.
    const value = key === KV_HEADS ? fields.numberOfLayers(`${arch}.${key}`) : fields.number(`${arch}.${key}`);
    if (setting !== undefined && value !== undefined) settings[setting] = kind === "f32" ? shortest(value) : value;
  }
  const headSize =
    fields.number(`${arch}.attention.key_length`) ??
    Math.floor(need("embedding_length") / Math.max(1, need("attention.head_count")));
  if ((fields.number(`${arch}.attention.value_length`) ?? headSize) !== headSize) {
    fields.refuse("heads of keys and of values of different sizes", supported);
  }
  const embedding = tensors.get("token_embd.weight");
  const types = new Set([...tensors.values()].filter(({ shape }) => shape.length > 1).map(({ type: one }) => one));
  const bias = tensors.has("blk.0.attn_q.bias");
  return {
    architectures: [gguf?.transformers],
    model_type: type,
    ...settings,
    num_hidden_layers: layersIn(fields, arch).own,
    head_dim: headSize,
    num_key_value_heads: settings["num_key_value_heads"] ?? settings["num_attention_heads"],
    // Required by llama.cpp: another model's default must not stand in.
    ...(isOfLayerNorms(type) ? {} : { rms_norm_eps: shortest(need("attention.layer_norm_rms_epsilon")) }),
    // Left out, EXAONE's would be a number.
    sliding_window: window || (type === "exaone4" ? null : undefined),
    vocab_size: embedding?.shape[0],
    tie_word_embeddings: !tensors.has("output.weight"),
    ...(["llama", "qwen3", "granite", "granitemoe", "granitemoehybrid", "seed_oss", "glm4", "gpt_oss"].includes(type)
      ? { attention_bias: bias }
      : {}),
    ...(["llama", "granite"].includes(type) ? { mlp_bias: tensors.has("blk.0.ffn_gate.bias") } : {}),
    ...(type.startsWith("gemma") ? gemma(type, settings, headSize) : { hidden_act: "silu" }),
    ...layersOf(type, fields, arch, kvHeads),
    ...alone(type, settings, {
      bias,
      valueSize: (fields.number(`${arch}.ssm.inner_size`) ?? 0) / (fields.number(`${arch}.ssm.time_step_rank`) ?? 1),
    }),
    ...(isGemma4 ? readGemma4(fields, header, headSize) : {}),
    ...(await readRope(file, fields, { arch, type, headSize, settings })),
    ...tokens(fields),
    torch_dtype: torchDtype(types),
  };
}

/**
 * llama.cpp calls some by one name: mixtures of experts are told from Llama by their number, OLMo 3 from 2 by its window, Granite 4
 * without ropes from Granite 3.
 */
function architectureIn(
  arch: string,
  isMixture: boolean,
  hasWindow: boolean,
  isTurned: boolean,
): Architecture | undefined {
  const others = [
    ["llama", isMixture, "mixtral"],
    ["olmo2", hasWindow, "olmo3"],
    ["granite", !isTurned, "granitemoehybrid"],
  ] as const;
  const [, , type] = others.find(([name, isOther]) => name === arch && isOther) ?? [];
  return ARCHITECTURES.find((one) => (type === undefined ? one.gguf?.name === arch : one.type === type));
}

function hasRope(fields: GgufFields, arch: string): boolean {
  return fields.boolean(`${arch}.${ROPE_KEYS.finetuned}`) ?? true;
}

const isOfLayerNorms = (type: string) => ["starcoder2", "cohere2", "gpt2"].includes(type);

/** Which layers have a window, or a convolution, where the file says it; elsewhere it is as llama.cpp and transformers have it. */
function layersOf(type: string, fields: GgufFields, arch: string, kvHeads: readonly number[] | undefined): object {
  if (kvHeads !== undefined) {
    const heads = kvHeads.reduce((most, one) => Math.max(most, one), 0);
    const types = kvHeads.map((one) => (one === 0 ? "conv" : "full_attention"));
    return {
      num_key_value_heads: heads,
      layer_types: types,
      ...(type === "lfm2" && { block_auto_adjust_ff_dim: false }),
    };
  }
  const key = `${arch}.${WINDOWS}`;
  const isListed = ["olmo3", "exaone4"].includes(type) || (type === "gpt_oss" && fields.isList(key));
  const windows = isListed ? fields.booleans(key) : undefined;
  if (windows === undefined) return {};
  const types = ofLayers(fields, arch, WINDOWS, windows).map((slides) =>
    slides === 0 ? "full_attention" : "sliding_attention",
  );
  return { layer_types: types };
}

/** What a type has no other way of in llama.cpp, and config.json must say. */
function alone(
  type: string,
  settings: Readonly<Record<string, unknown>>,
  { bias, valueSize }: { readonly bias: boolean; readonly valueSize: number },
): object {
  if (type === "starcoder2") return { hidden_act: "gelu_pytorch_tanh", use_bias: true };
  if (type === "gpt2") {
    const { intermediate_size: inner, layer_norm_eps: epsilon } = settings;
    return { n_inner: inner, layer_norm_epsilon: epsilon, activation_function: "gelu_new" };
  }
  const {
    rms_norm_eps: epsilon,
    num_local_experts: count,
    num_experts_per_tok: chosen,
    num_hidden_layers: layers,
    intermediate_size: inner,
  } = settings;
  if (type === "granitemoehybrid") {
    const types = Array.from({ length: Math.min(Number(layers), MOST_LAYERS) }, () => "attention");
    return {
      num_local_experts: 0,
      shared_intermediate_size: inner,
      position_embedding_type: "nope",
      layer_types: types,
    };
  }
  const experts = { num_experts: count, decoder_sparse_step: 1 };
  switch (type) {
    case "lfm2":
      return { norm_eps: epsilon };
    case "lfm2_moe":
      return { norm_eps: epsilon, num_experts: count, norm_topk_prob: true, use_expert_bias: true };
    case "qwen2_moe":
      return { ...experts, norm_topk_prob: false, qkv_bias: bias };
    case "qwen3_moe":
      return { ...experts, norm_topk_prob: true };
    case "qwen3_next":
      return { ...experts, norm_topk_prob: true, linear_value_head_dim: valueSize };
    case "qwen3_5_text":
      return { linear_value_head_dim: valueSize };
    case "gpt_oss":
      return { intermediate_size: settings["moe_intermediate_size"] ?? inner };
    case "gemma4_text":
      return Number(count ?? 0) > 0 ? { enable_moe_block: true, num_experts: count, top_k_experts: chosen } : {};
    case "olmoe":
      return { num_experts: count, norm_topk_prob: false };
    default:
      return {};
  }
}

/** The one that holds the numbers of all matrices. */
function torchDtype(types: ReadonlySet<GgufType>): string {
  const [type, ...others] = types;
  if (others.length > 0) return "float32";
  return type === "F16" ? "float16" : type === "BF16" ? "bfloat16" : "float32";
}

function gemma(type: string, settings: Readonly<Record<string, unknown>>, headSize: number): object {
  const { hidden_size: width, num_attention_heads: heads, num_hidden_layers: layers } = settings;
  const hidden_activation = "gelu_pytorch_tanh";
  if (type === "gemma4_text") return { hidden_activation };
  const byWidth = layers === GEMMA_27B[type];
  return {
    hidden_activation,
    query_pre_attn_scalar: byWidth ? Math.floor(Number(width) / Number(heads)) : headSize,
  };
}

/** The ids that begin and end a text; a model for chats may end a turn with another one: `eos`, `eot` and `eom` all end it. */
function tokens(fields: GgufFields): object {
  const id = (name: string) => fields.number(`tokenizer.ggml.${name}_token_id`);
  const ends = [...new Set(["eos", "eot", "eom"].flatMap((name) => id(name) ?? []))];
  return {
    bos_token_id: id("bos"),
    eos_token_id: ends.length > 1 ? ends : ends[0],
    pad_token_id: id("padding") ?? null,
  };
}
