import type { GgufMetadata, GgufValue } from "../../files/gguf/format.ts";
import type { ConfigJson } from "../decoder/config-file.ts";
import type { DecoderConfig } from "../decoder/config.ts";

/** llama.cpp's name of an architecture, by `model_type`: Mistral is a Llama there. */
export const GGUF_ARCHITECTURES: Readonly<Record<string, string>> = {
  llama: "llama",
  mistral: "llama",
  qwen2: "qwen2",
  qwen3: "qwen3",
  phi3: "phi3",
  gemma2: "gemma2",
  gemma3_text: "gemma3",
};

/** `general.file_type`: what most tensors are stored as (llama.h, llama_ftype). */
export const FILE_TYPES = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 7, BF16: 32 } as const;

const u32 = (value: number): GgufValue => ({ kind: "u32", value });
const f32 = (value: number): GgufValue => ({ kind: "f32", value });
const string = (value: string): GgufValue => ({ kind: "string", value });

/** What a GGUF file says of any model or adapter. */
export function generalMetadata(architecture: string, type: "model" | "adapter", name: string): [string, GgufValue][] {
  return [
    ["general.architecture", string(GGUF_ARCHITECTURES[architecture] ?? architecture)],
    ["general.type", string(type)],
    ["general.name", string(name)],
  ];
}

/** What llama.cpp is told of a decoder, as its convert_hf_to_gguf.py does it. */
export function decoderMetadata(config: DecoderConfig, json: ConfigJson): GgufMetadata {
  const { architecture, headSize, ropes, layers, logitSoftcap, attentionSoftcap } = config;
  const arch = GGUF_ARCHITECTURES[architecture] ?? architecture;
  const [full, sliding] = ropes;
  const windows = layers.map(({ window }) => window).filter(Number.isFinite);
  const headLength = saysHeadSize(config, json) ? u32(headSize) : undefined;
  const pairs: [string, GgufValue | undefined][] = [
    ["block_count", u32(layers.length)],
    // A dynamic rope stretches ours; llama.cpp has none.
    ["context_length", u32(json.max_position_embeddings ?? config.contextLength)],
    ["embedding_length", u32(config.hiddenSize)],
    ["feed_forward_length", u32(config.intermediateSize)],
    ["attention.head_count", u32(config.heads)],
    ["attention.head_count_kv", u32(config.kvHeads)],
    ["attention.layer_norm_rms_epsilon", f32(config.epsilon)],
    ["attention.key_length", headLength],
    ["attention.value_length", headLength],
    ["vocab_size", arch === "llama" ? u32(config.vocabularySize) : undefined],
    ["rope.dimension_count", arch === "llama" || arch === "phi3" ? u32(full?.size ?? headSize) : undefined],
    ["rope.freq_base", full && arch !== "gemma2" ? f32(full.theta) : undefined],
    ["rope.freq_base_swa", sliding && f32(sliding.theta)],
    ["attn_logit_softcapping", attentionSoftcap === undefined ? undefined : f32(attentionSoftcap)],
    ["final_logit_softcapping", logitSoftcap === undefined ? undefined : f32(logitSoftcap)],
    ["attention.sliding_window", slidingWindow(arch, windows)],
    ...ropeScaling(config, json),
  ];
  return new Map(pairs.flatMap(([key, value]) => (value === undefined ? [] : [[`${arch}.${key}`, value] as const])));
}

/** Left out where llama.cpp's own rule, hidden size by heads, is all that its converter relies on. */
function saysHeadSize({ architecture }: DecoderConfig, json: ConfigJson): boolean {
  if (architecture === "phi3") return false;
  return architecture !== "qwen2" || (json.head_dim ?? undefined) !== undefined;
}

function slidingWindow(arch: string, windows: readonly number[]): GgufValue | undefined {
  const [window] = windows;
  // Phi 4 is told from Phi 3 by its 0.
  if (arch === "phi3") return u32(window ?? 0);
  return arch.startsWith("gemma") && window !== undefined ? u32(window) : undefined;
}

function ropeScaling({ architecture, ropes }: DecoderConfig, json: ConfigJson): [string, GgufValue][] {
  const [rope] = ropes;
  const scaling = rope?.scaling ?? { kind: "default" };
  if (architecture === "phi3") {
    const trained = scaling.kind === "longrope" ? scaling.trainedLength : json.original_max_position_embeddings;
    const length: [string, GgufValue] = ["rope.scaling.original_context_length", u32(trained ?? 4096)];
    return scaling.kind === "longrope"
      ? [length, ["rope.scaling.attn_factor", f32(scaling.attentionFactor)]]
      : [length];
  }
  if (scaling.kind === "linear") {
    return [
      ["rope.scaling.type", string("linear")],
      ["rope.scaling.factor", f32(scaling.factor)],
    ];
  }
  if (scaling.kind !== "yarn") return [];
  return [
    ["rope.scaling.type", string("yarn")],
    ["rope.scaling.factor", f32(scaling.factor)],
    ["rope.scaling.original_context_length", u32(scaling.trainedLength)],
    ["rope.scaling.yarn_beta_fast", f32(scaling.betaFast)],
    ["rope.scaling.yarn_beta_slow", f32(scaling.betaSlow)],
  ];
}
