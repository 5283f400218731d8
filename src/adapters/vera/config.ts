import * as v from "valibot";
import {
  biasKey,
  dropoutShare,
  finiteNumber,
  LAYER_KEYS,
  layerSettings,
  type LayerSettings,
  parseSettings,
  positiveInteger,
  prngKey,
} from "../base/config-keys.ts";
import type { WrittenSettings } from "../files/adapter.ts";

/** PEFT's VeraConfig, understood. Defaults are PEFT's. */
export interface VeraConfig extends LayerSettings {
  readonly r: number;
  /** `projection_prng_key`: the seed of the factors, −2^63 ≤ key < 2^64. */
  readonly key: bigint;
  /** Whether the file is meant to hold the factors. */
  readonly saveProjection: boolean;
  /** What λ_d began with. */
  readonly dInitial: number;
}

const SCHEMA = v.object({
  r: v.optional(positiveInteger, 256),
  projection_prng_key: v.optional(prngKey, 0n),
  save_projection: v.nullish(v.boolean("it must be true or false"), true),
  vera_dropout: dropoutShare,
  d_initial: v.optional(finiteNumber, 0.1),
  bias: biasKey("vera_only"),
  ...LAYER_KEYS,
});

/**
 * Reads PEFT's settings for VeRA (peft/tuners/vera/config.py).
 * Throws `RandloraError` "format" for a value that makes no sense.
 */
export function veraConfig({ settings, configFile: file }: WrittenSettings): VeraConfig {
  const read = parseSettings(SCHEMA, settings, file);
  return {
    r: read.r,
    key: read.projection_prng_key,
    saveProjection: read.save_projection,
    dInitial: read.d_initial,
    ...layerSettings(read, file),
  };
}
