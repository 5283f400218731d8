import { quote } from "../../files/failure.ts";
import type { GgufType } from "../../files/gguf/format.ts";
import { GgufFields } from "../../files/gguf/metadata.ts";
import type { GgufFile } from "../../files/gguf/reader.ts";
import { FIELDS } from "./metadata.ts";
import { ARCHITECTURES } from "../decoder/architectures/index.ts";
import { readRope } from "./read-rope.ts";
import { GEMMA_27B } from "./refusals.ts";
import { shortest } from "./shortest.ts";

/**
 * The config.json of the model in a GGUF file: what {@link FIELDS} say, and what its tensors do.
 * @throws RandloraError `model` for another kind of model or file, `format` for metadata that is missing or of another type
 */
export async function readGgufConfig(file: GgufFile): Promise<Readonly<Record<string, unknown>>> {
  const { path, header } = file;
  const { tensors } = header;
  const fields = new GgufFields(header.metadata, path);
  const arch = fields.need(fields.string("general.architecture"), "general.architecture");
  const { type, gguf } = ARCHITECTURES.find((one) => one.gguf?.name === arch) ?? {};
  const supported = `supported: ${[...new Set(ARCHITECTURES.flatMap((one) => one.gguf?.name ?? []))].join(", ")}`;
  if (fields.string("general.type") === "adapter") fields.refuse("an adapter, not a model", "give the model's file");
  if (type === undefined) return fields.refuse(`models of architecture ${quote(arch)} cannot be run`, supported);
  if ((fields.number("split.count") ?? 1) > 1) {
    fields.refuse("one part of a split model", "join the parts: llama-gguf-split --merge FIRST-PART OUT.gguf");
  }
  // llama.cpp calls OLMo 3 so as well: most of its layers see a window, and these turn otherwise.
  if (type === "olmo2" && fields.number(`${arch}.attention.sliding_window`) !== undefined) {
    fields.refuse("a model of OLMo 3, which is not read from GGUF", "give the model's folder");
  }
  const settings: Record<string, unknown> = {};
  for (const { key, kind, setting } of FIELDS) {
    const value = fields.number(`${arch}.${key}`);
    if (setting !== undefined && value !== undefined) settings[setting] = kind === "f32" ? shortest(value) : value;
  }
  const need = (key: string) => fields.need(fields.number(`${arch}.${key}`), `${arch}.${key}`);
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
    head_dim: headSize,
    num_key_value_heads: settings["num_key_value_heads"] ?? settings["num_attention_heads"],
    // Required by llama.cpp: another model's default must not stand in.
    rms_norm_eps: shortest(need("attention.layer_norm_rms_epsilon")),
    sliding_window: settings["sliding_window"] || undefined,
    vocab_size: embedding?.shape[0],
    tie_word_embeddings: !tensors.has("output.weight"),
    ...(["llama", "qwen3", "granite", "seed_oss"].includes(type) ? { attention_bias: bias } : {}),
    ...(["llama", "granite"].includes(type) ? { mlp_bias: tensors.has("blk.0.ffn_gate.bias") } : {}),
    ...(type.startsWith("gemma") ? gemma(type, settings, headSize) : { hidden_act: "silu" }),
    ...(await readRope(file, fields, { arch, type, headSize, settings })),
    ...tokens(fields),
    torch_dtype: torchDtype(types),
  };
}

/** The one that holds the numbers of all matrices. */
function torchDtype(types: ReadonlySet<GgufType>): string {
  const [type, ...others] = types;
  if (others.length > 0) return "float32";
  return type === "F16" ? "float16" : type === "BF16" ? "bfloat16" : "float32";
}

function gemma(type: string, settings: Readonly<Record<string, unknown>>, headSize: number): object {
  const { hidden_size: width, num_attention_heads: heads, num_hidden_layers: layers } = settings;
  const byWidth = layers === GEMMA_27B[type];
  return {
    hidden_activation: "gelu_pytorch_tanh",
    query_pre_attn_scalar: byWidth ? Math.floor(Number(width) / Number(heads)) : headSize,
  };
}

/** The ids that begin and end a text; a model for chats may end a turn with another one. */
function tokens(fields: GgufFields): object {
  const id = (name: string) => fields.number(`tokenizer.ggml.${name}_token_id`);
  const ends = [...new Set(["eos", "eot", "eom"].flatMap((name) => id(name) ?? []))];
  return {
    bos_token_id: id("bos"),
    eos_token_id: ends.length > 1 ? ends : ends[0],
    pad_token_id: id("padding") ?? null,
  };
}
