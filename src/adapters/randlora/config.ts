import * as v from "valibot";
import type { Sparsity } from "../../compute/random/names.ts";
import {
  dropoutShare,
  finiteNumber,
  flag,
  LAYER_KEYS,
  layerSettings,
  type LayerSettings,
  parseSettings,
  positiveInteger,
  prngKey,
  text,
} from "../base/config-keys.ts";
import type { Adapter, PlainConfig } from "../adapter.ts";
import { DORA_TYPES, PEFT_TYPES } from "./peft-types.ts";

/** PEFT's RandLoraConfig, understood. Defaults are PEFT's. */
export interface RandloraConfig extends LayerSettings {
  /** Rank of each base. */
  readonly r: number;
  /** Modules use the first half of the bases. */
  readonly half: boolean;
  /** ΔW is scaled by alpha / r. */
  readonly alpha: number;
  /** `projection_prng_key`: the seed of the bases, −2^63 ≤ key < 2^64. */
  readonly key: bigint;
  /** Whether the file is meant to hold the bases. */
  readonly saveProjection: boolean;
  /** Very sparse wins when both are asked for. */
  readonly sparsity: Sparsity;
  readonly bias: "none" | "all" | "randlora_only";
  /** The rows of W + ΔW are rescaled to magnitudes of their own. */
  readonly dora: boolean;
  readonly taskType: string | undefined;
  /** Dropout of the adapter's input while training. */
  readonly dropout: number;
}

/** Keys that no other method's configuration has, or means the same by. */
const OWN_KEYS = {
  r: v.optional(positiveInteger, 32),
  randlora_alpha: v.optional(finiteNumber, 640),
  projection_prng_key: v.optional(prngKey, 0n),
  save_projection: v.nullish(v.boolean("it must be true or false"), true),
  sparse: flag,
  very_sparse: flag,
  randlora_dropout: dropoutShare,
};

export const RANDLORA_KEYS: ReadonlySet<string> = new Set(Object.keys(OWN_KEYS));

const SCHEMA = v.object({
  peft_type: v.optional(text),
  ...OWN_KEYS,
  bias: v.nullish(v.picklist(["none", "all", "randlora_only"], 'it must be "none", "all" or "randlora_only"'), "none"),
  ...LAYER_KEYS,
  task_type: v.nullish(text),
});

/** The settings of an open adapter. */
export function randloraConfig({ settings, configFile }: Adapter): RandloraConfig {
  return parseRandloraConfig(settings, configFile);
}

/**
 * Reads PEFT's settings for RandLoRA (peft/tuners/randlora/config.py). `file` is named in errors.
 * Throws `RandloraError` "format" for a value that makes no sense.
 */
export function parseRandloraConfig(config: PlainConfig, file: string): RandloraConfig {
  const read = parseSettings(SCHEMA, config, file);
  return {
    r: read.r,
    half: isOneOf([PEFT_TYPES["half-rank"], DORA_TYPES["half-rank"]], read.peft_type),
    alpha: read.randlora_alpha,
    key: read.projection_prng_key,
    saveProjection: read.save_projection,
    sparsity: read.very_sparse ? "very-sparse" : read.sparse ? "sparse" : "dense",
    bias: read.bias,
    dora: isOneOf(Object.values(DORA_TYPES), read.peft_type),
    ...layerSettings(read, file),
    taskType: read.task_type ?? undefined,
    dropout: read.randlora_dropout,
  };
}

function isOneOf(types: readonly string[], type: string | undefined): boolean {
  return type !== undefined && types.includes(type);
}
