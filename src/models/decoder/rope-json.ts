import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import type { ConfigJson, RopeJson } from "./config-file.ts";
import { longropeTemperature, type Rope, type RopeScaling, yarnTemperature } from "../blocks/rope.ts";

/** What the architecture says where config.json does not. */
export interface RopeDefaults {
  readonly headSize: number;
  readonly theta?: number;
  readonly contextLength: number;
  /** A part of each head may turn (Phi 3); others pass `partial_rotary_factor` over, as transformers does. */
  readonly partial?: boolean;
  /** Of scaled ropes, whatever their own settings say: transformers has it so for Phi 3. */
  readonly trainedLength?: number;
}

/**
 * The one rope of a model, from `rope_parameters`, or from `rope_theta` and `rope_scaling` before transformers 5.
 * @throws RandloraError `model` naming a kind that is not supported or a number that is missing
 */
export function ropeOf(json: ConfigJson, defaults: RopeDefaults): Rope {
  const given = json.rope_scaling ?? json.rope_parameters ?? {};
  return ropeFrom(given, json, defaults, json.rope_theta ?? defaults.theta ?? 10_000);
}

/** The same where queries grow with their position (Ministral 3). @throws RandloraError as `ropeOf` */
export function growingRopeOf(json: ConfigJson, defaults: RopeDefaults): Rope {
  const { llama_4_scaling_beta: beta, original_max_position_embeddings: trained } = json.rope_parameters ?? {};
  return { ...ropeOf(json, defaults), growth: beta ? { beta, length: trained ?? defaults.contextLength } : undefined };
}

/**
 * Ropes of full and of sliding layers (Gemma 3, OLMo 3): nested in `rope_parameters`, or told apart by their bases alone. Only that
 * of full ones is scaled by `rope_scaling`.
 */
export function ropesByLayerType(
  json: ConfigJson,
  defaults: RopeDefaults,
  thetas: { readonly full: number; readonly sliding: number },
): { full: Rope; sliding: Rope } {
  const nested = json.rope_parameters;
  const full = { ...nested?.full_attention, ...json.rope_scaling };
  return {
    full: ropeFrom(full, json, defaults, thetas.full),
    sliding: ropeFrom(nested?.sliding_attention ?? {}, json, defaults, thetas.sliding),
  };
}

function ropeFrom(given: RopeJson, json: ConfigJson, defaults: RopeDefaults, theta: number): Rope {
  const { headSize, contextLength } = defaults;
  const part = given.partial_rotary_factor ?? json.partial_rotary_factor ?? 1;
  // A proportional rope has pairs of all elements, of which those behind the part have angles of 0.
  const isPartial = defaults.partial === true && kindOf(given) !== "proportional";
  // A top-level original_max_position_embeddings goes before the one inside.
  const outer = json.original_max_position_embeddings ?? defaults.trainedLength;
  const trainedLength = outer ?? given.original_max_position_embeddings ?? contextLength;
  return {
    theta: given.rope_theta ?? theta,
    size: isPartial ? Math.floor(headSize * part) : headSize,
    scaling: scalingFrom(given, json.model_type, trainedLength, defaults, part),
  };
}

/** Of a text's tokens the three positions of `mrope` are one (Qwen's models with images). */
function kindOf({ rope_type, type }: RopeJson): string {
  const kind = rope_type ?? type ?? "default";
  return kind === "mrope" ? "default" : kind;
}

function scalingFrom(
  given: RopeJson,
  model: string,
  trainedLength: number,
  { contextLength, headSize }: RopeDefaults,
  part: number,
): RopeScaling {
  const said = kindOf(given);
  // Phi 3's first releases called longrope "su", and "yarn".
  const kind = model === "phi3" && (said === "su" || said === "yarn") ? "longrope" : said;
  const need = <T>(value: T | null | undefined, name: string): T => {
    if (value !== null && value !== undefined) return value;
    throw new RandloraError("model", `RoPE scaling ${quote(kind)} lacks ${name}`);
  };
  switch (kind) {
    case "default":
      return { kind };
    case "linear":
      return { kind, factor: need(given.factor, "factor") };
    case "proportional":
      return { kind, factor: given.factor ?? 1, pairs: Math.floor((part * headSize) / 2) };
    case "dynamic":
      return { kind, factor: need(given.factor, "factor"), trainedLength: contextLength };
    case "llama3":
      return {
        kind,
        factor: need(given.factor, "factor"),
        lowFrequencyFactor: need(given.low_freq_factor, "low_freq_factor"),
        highFrequencyFactor: need(given.high_freq_factor, "high_freq_factor"),
        trainedLength,
      };
    case "yarn": {
      const factor = given.factor ?? contextLength / trainedLength;
      const { mscale, mscale_all_dim: all } = given;
      const byWeights = mscale && all ? yarnTemperature(factor, mscale) / yarnTemperature(factor, all) : undefined;
      return {
        kind,
        factor,
        trainedLength,
        attentionFactor: given.attention_factor ?? byWeights ?? yarnTemperature(factor),
        betaFast: given.beta_fast || 32,
        betaSlow: given.beta_slow || 1,
        truncate: given.truncate ?? true,
      };
    }
    case "longrope": {
      const factor = given.factor ?? contextLength / trainedLength;
      return {
        kind,
        shortFactor: need(given.short_factor, "short_factor"),
        longFactor: need(given.long_factor, "long_factor"),
        trainedLength,
        attentionFactor: given.attention_factor ?? longropeTemperature(factor, trainedLength),
      };
    }
    default: {
      const hint = "supported: default, linear, proportional, dynamic, llama3, yarn, longrope";
      throw new RandloraError("model", `RoPE scaling ${quote(kind)} is not supported`, hint);
    }
  }
}
