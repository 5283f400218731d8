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

/** PEFT has no NoLA, and refuses this. */
export const PEFT_TYPE = "NOLA";

/** The settings of a NoLA adapter, in PEFT's manner. */
export interface NolaConfig extends LayerSettings {
  readonly r: number;
  /** ΔW is scaled by alpha / r. */
  readonly alpha: number;
  /** k: coefficients of A, and of B, of each module. */
  readonly bases: number;
  /** `projection_prng_key`: the seed of the bases, −2^63 ≤ key < 2^64. */
  readonly key: bigint;
}

/** More are never of use: they would be as many as a large weight has elements. */
export const MOST_BASES = 2 ** 24;

const COUNT = "it must be an integer from 1 to 2^24";
const count = v.pipe(positiveInteger, v.maxValue(MOST_BASES, COUNT));

// Nobody else writes such files: what decides about ΔW has no default.
const SCHEMA = v.object({
  r: count,
  nola_alpha: finiteNumber,
  num_bases: count,
  projection_prng_key: prngKey,
  nola_dropout: dropoutShare,
  bias: biasKey("nola_only"),
  ...LAYER_KEYS,
});

/** Throws `RandloraError` "format" for a value that is missing or makes no sense. */
export function nolaConfig({ settings, configFile: file }: WrittenSettings): NolaConfig {
  const read = parseSettings(SCHEMA, settings, file);
  return {
    r: read.r,
    alpha: read.nola_alpha,
    bases: read.num_bases,
    key: read.projection_prng_key,
    ...layerSettings(read, file),
  };
}
