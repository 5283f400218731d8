import type { GgufMetadata, GgufValue } from "../../files/gguf/format.ts";
import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import { architectureOf, ARCHITECTURES } from "../decoder/architectures/index.ts";
import type { ConfigJson } from "../decoder/config-file.ts";
import { attentionsOf, type DecoderConfig } from "../decoder/config.ts";
import { yarnTemperature } from "../blocks/rope.ts";
import { fieldsOf, KV_HEADS, slidingWindow, WINDOWS } from "./fields.ts";
import { gemma4Layers } from "./gemma4.ts";

/** llama.cpp's name of an architecture, by `model_type`: Mistral is a Llama there. @throws RandloraError `model` where it has none */
export function ggufName(type: string): string {
  const name = architectureOf(type)?.gguf?.name;
  if (name !== undefined) return name;
  const cause = `models of type ${quote(type)} cannot be written as GGUF`;
  throw new RandloraError("model", cause, `supported: ${ggufTypes().join(", ")}`);
}

/** The `model_type`s that can be written. */
function ggufTypes(): string[] {
  return ARCHITECTURES.flatMap(({ type, gguf }) => (gguf === undefined ? [] : [type]));
}

/** `general.file_type`: what most tensors are stored as (llama.h, llama_ftype). */
export const FILE_TYPES = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 7, Q6_K: 18, BF16: 32, MXFP4: 38 } as const;

const string = (value: string): GgufValue => ({ kind: "string", value });

/** The keys of a rope's scaling, after the architecture's name and a dot. */
export const ROPE_KEYS = {
  type: "rope.scaling.type",
  factor: "rope.scaling.factor",
  trainedLength: "rope.scaling.original_context_length",
  attentionFactor: "rope.scaling.attn_factor",
  betaFast: "rope.scaling.yarn_beta_fast",
  betaSlow: "rope.scaling.yarn_beta_slow",
  logMultiplier: "rope.scaling.yarn_log_multiplier",
  /** Granite: are there ropes at all? */
  finetuned: "rope.scaling.finetuned",
  sections: "rope.dimension_sections",
} as const;

/** What a GGUF file says of any model or adapter. */
export function generalMetadata(architecture: string, type: "model" | "adapter", name: string): [string, GgufValue][] {
  return [
    ["general.architecture", string(ggufName(architecture))],
    ["general.type", string(type)],
    ["general.name", string(name)],
  ];
}

/** The metadata of a decoder. */
export function decoderMetadata(config: DecoderConfig, json: ConfigJson): GgufMetadata {
  const arch = ggufName(config.architecture);
  const fields = fieldsOf(arch).flatMap(({ key, kind, of }): [string, GgufValue][] => {
    const value = of(config, json, arch);
    return value === undefined ? [] : [[key, { kind, value }]];
  });
  const all = [...fields, ...perLayer(config, arch), ...ropeScaling(config, json, arch)];
  return new Map(all.map(([key, value]) => [`${arch}.${key}`, value]));
}

/** What is said of each layer: which have a window, and which attention. */
function perLayer(config: DecoderConfig, arch: string): [string, GgufValue][] {
  if (arch === "gemma4") return gemma4Layers(config);
  const { layers } = config;
  if (arch === "lfm2" || arch === "lfm2moe") {
    const value = layers.map((layer) => {
      return layer.reduce((heads, { mixer }) => (mixer.kind === "attention" ? mixer.kvHeads : heads), 0);
    });
    return [[KV_HEADS, { kind: "array", of: "i32", value }]];
  }
  if (!["olmo2", "exaone4"].includes(arch) || slidingWindow(config, {}, arch) === undefined) return [];
  const value = attentionsOf(config).map(({ window }) => Number.isFinite(window));
  return [[WINDOWS, { kind: "array", of: "bool", value }]];
}

function ropeScaling({ architecture, ropes }: DecoderConfig, json: ConfigJson, arch: string): [string, GgufValue][] {
  const u32 = (key: keyof typeof ROPE_KEYS, value: number): [string, GgufValue] => [
    ROPE_KEYS[key],
    { kind: "u32", value },
  ];
  const f32 = (key: keyof typeof ROPE_KEYS, value: number): [string, GgufValue] => [
    ROPE_KEYS[key],
    { kind: "f32", value },
  ];
  const { size = 0, scaling = { kind: "default" as const }, growth } = ropes[0] ?? {};
  if (architecture === "phi3") {
    const trained = scaling.kind === "longrope" ? scaling.trainedLength : json.original_max_position_embeddings;
    const length = u32("trainedLength", trained ?? 4096);
    return scaling.kind === "longrope" ? [length, f32("attentionFactor", scaling.attentionFactor)] : [length];
  }
  if (architecture === "cohere2") return [[ROPE_KEYS.type, string("none")]];
  if (architecture === "granitemoehybrid") {
    return [[ROPE_KEYS.finetuned, { kind: "bool", value: scaling.kind !== "none" }], ...scaled()];
  }
  if (arch === "qwen35") {
    return [[ROPE_KEYS.sections, { kind: "array", of: "i32", value: sectionsOf(size / 2) }], ...scaled()];
  }
  return scaled();

  function scaled(): [string, GgufValue][] {
    if (scaling.kind === "linear") return [[ROPE_KEYS.type, string("linear")], f32("factor", scaling.factor)];
    // By this length queries grow, where they do.
    if (scaling.kind !== "yarn") return growth === undefined ? [] : [u32("trainedLength", growth.length)];
    const { factor, trainedLength, attentionFactor, betaFast, betaSlow } = scaling;
    const usual = yarnTemperature(factor);
    const ratio = attentionFactor / usual;
    const temperature =
      Math.abs(ratio - 1) < 1e-6
        ? []
        : arch === "mistral3" && usual > 1
          ? [f32("logMultiplier", (1 / ratio - 1) / (usual - 1))]
          : [f32("attentionFactor", ratio)];
    return [
      [ROPE_KEYS.type, string("yarn")],
      f32("factor", factor),
      u32("trainedLength", trainedLength),
      f32("betaFast", betaFast),
      f32("betaSlow", betaSlow),
      ...temperature,
    ];
  }
}

/** How many pairs of a head turn by time, by height and by width, in turns: of text these are the same positions. Qwen 3.5 says 11, 11, 10 of 32. */
function sectionsOf(pairs: number): number[] {
  return [...[0, 1, 2].map((part) => Math.max(0, Math.ceil((pairs - part) / 3))), 0];
}
