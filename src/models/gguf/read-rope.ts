import type { GgufFields } from "../../files/gguf/metadata.ts";
import type { GgufFile } from "../../files/gguf/reader.ts";
import type { RopeJson } from "../decoder/config-file.ts";
import { longropeTemperature, yarnTemperature } from "../blocks/rope.ts";
import { GROWTH } from "./fields.ts";
import { gemma4Ropes } from "./gemma4.ts";
import { ROPE_KEYS } from "./metadata.ts";
import { ROPE_TENSORS, ropeFactors } from "./rope-factors.ts";
import { shortest } from "./layers.ts";

/** What the rope depends on. */
export interface RopeOf {
  readonly arch: string;
  /** `model_type`. */
  readonly type: string;
  readonly headSize: number;
  /** Of config.json, as far as they have been read. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** More factors than any head has pairs; what a damaged file says would fill the memory. */
const MOST_FACTORS = 1 << 12;
/** Llama 3's own bounds. */
const LOW = 1;
const HIGH = 4;

/**
 * The settings of config.json on how heads turn.
 * @throws RandloraError `model` for what no config.json says
 */
export async function readRope(file: GgufFile, fields: GgufFields, of: RopeOf): Promise<object> {
  const { arch, type, headSize } = of;
  const number = (key: keyof typeof ROPE_KEYS) => fields.number(`${arch}.${ROPE_KEYS[key]}`);
  const size = fields.number(`${arch}.rope.dimension_count`) ?? headSize;
  const isPartial = ["phi3", "glm4", "qwen3_next", "qwen3_5_text"].includes(type);
  if (size !== headSize && !isPartial) {
    fields.refuse(`${size} of ${headSize} elements of a head turn`, `llama.cpp's ${arch} turns whole heads`);
  }
  const [freqs, long, short] = await Promise.all(ROPE_TENSORS.map((name) => factorsOf(file, name, fields)));
  if (type === "phi3") {
    const trained = number("trainedLength") ?? 4096;
    return {
      original_max_position_embeddings: trained,
      partial_rotary_factor: size / headSize,
      ...(long && short && { rope_scaling: longrope(long, short, trained, number("attentionFactor"), of) }),
    };
  }
  const kind = fields.string(`${arch}.${ROPE_KEYS.type}`) ?? "none";
  if (type === "gemma4_text") {
    if (kind === "none") return gemma4Ropes(freqs, headSize, of.settings, fields);
    return fields.refuse(`RoPE scaling ${kind}`, "Gemma 4 turns by factors in tensors");
  }
  const beta = fields.number(`${arch}.${GROWTH}`);
  const growth = {
    original_max_position_embeddings: number("trainedLength"),
    llama_4_scaling_beta: beta && shortest(beta),
  };
  const turned = isPartial ? { partial_rotary_factor: size / headSize } : {};
  if (freqs !== undefined && freqs.some((factor) => factor !== 1)) {
    return { rope_scaling: llama3(freqs, headSize, Number(of.settings["rope_theta"] ?? 10_000), fields) };
  }
  const factor = number("factor") ?? 1;
  if (kind === "none" || (kind === "linear" && factor === 1)) {
    // Left out, it would be YaRN.
    return ["ministral3", "gpt_oss"].includes(type) ? { rope_scaling: { rope_type: "default", ...growth } } : turned;
  }
  if (kind === "linear") return { ...turned, rope_scaling: { rope_type: kind, factor: shortest(factor) } };
  if (kind !== "yarn") return fields.refuse(`RoPE scaling ${kind}`, "supported: linear, yarn, and factors in tensors");
  const usual = yarnTemperature(factor);
  const [ratio = 1, multiplier = 0] = [number("attentionFactor"), number("logMultiplier")];
  const temperature = (usual * ratio) / (1 + multiplier * (usual - 1));
  const rope: RopeJson = {
    rope_type: kind,
    factor: shortest(factor),
    ...growth,
    ...(temperature === usual ? {} : { attention_factor: shortest(Math.fround(temperature)) }),
    beta_fast: shortest(number("betaFast") ?? 32),
    beta_slow: shortest(number("betaSlow") ?? 1),
    // A file does not say it; published ones do.
    ...(type === "gpt_oss" && { truncate: false }),
  };
  return { ...turned, rope_scaling: rope };
}

async function factorsOf(file: GgufFile, name: string, fields: GgufFields): Promise<Float32Array | undefined> {
  const tensor = file.header.tensors.get(name);
  if (tensor === undefined) return undefined;
  const [count = 0, ...more] = tensor.shape;
  if (tensor.type !== "F32" || more.length > 0 || count > MOST_FACTORS) {
    return fields.refuse(`${name} is no list of F32`, "the file is damaged: download it again");
  }
  const factors = new Float32Array(count);
  await file.read(tensor, new Uint8Array(factors.buffer));
  return factors;
}

function longrope(
  long: Float32Array,
  short: Float32Array,
  trained: number,
  given: number | undefined,
  { settings }: RopeOf,
): RopeJson {
  const usual = longropeTemperature(Number(settings["max_position_embeddings"]) / trained, trained);
  const isUsual = given === undefined || Math.fround(usual) === given;
  return {
    rope_type: "longrope",
    long_factor: Array.from(long, shortest),
    short_factor: Array.from(short, shortest),
    ...(isUsual ? {} : { attention_factor: shortest(given) }),
  };
}

/** Llama 3's settings, of which a file only has the factors: those that give the same. */
function llama3(factors: Float32Array, size: number, theta: number, fields: GgufFields): RopeJson {
  const factor = factors.reduce((most, one) => Math.max(most, one), 1);
  for (const trainedLength of lengthsOf(factors, size, theta, factor)) {
    const scaling = { factor, lowFrequencyFactor: LOW, highFrequencyFactor: HIGH, trainedLength } as const;
    const [made] = ropeFactors({ ropes: [{ theta, size, scaling: { kind: "llama3", ...scaling } }] });
    if (made?.factors.length !== factors.length) continue;
    if (made.factors.every((one, pair) => Math.abs(one / (factors[pair] ?? NaN) - 1) < 1e-5)) {
      return {
        rope_type: "llama3",
        factor,
        low_freq_factor: LOW,
        high_freq_factor: HIGH,
        original_max_position_embeddings: trainedLength,
      };
    }
  }
  return fields.refuse(
    "factors of RoPE that are not Llama 3's",
    "give the model's folder, whose config.json says them",
  );
}

/** The lengths that it may have been trained on: by the factors between, which are exact, else powers of two. */
function lengthsOf(factors: Float32Array, size: number, theta: number, largest: number): number[] {
  const between = [...factors].flatMap((factor, pair) => {
    if (factor <= 1 || factor >= largest) return [];
    const wavelength = 2 * Math.PI * theta ** ((2 * pair) / size);
    const smooth = (1 / factor - 1 / largest) / (1 - 1 / largest);
    return [Math.round(wavelength * (smooth * (HIGH - LOW) + LOW))];
  });
  const powers = Array.from({ length: 20 }, (_, power) => 2 ** (power + 4));
  return [...between.slice(0, 4), ...powers];
}
