import * as v from "valibot";
import {
  dropoutShare,
  finiteNumber,
  LAYER_KEYS,
  layerSettings,
  type LayerSettings,
  parseSettings,
  positiveInteger,
} from "../base/config-keys.ts";
import type { WrittenSettings } from "../files/adapter.ts";

/** A PRANC adapter's settings, understood. PEFT has no such method: the keys are ours, those of layers PEFT's. */
export interface PrancConfig extends LayerSettings {
  /** K. */
  readonly bases: number;
  /** ΔW = alpha/√K · Σ_i α_i θ_i. */
  readonly alpha: number;
}

/** More are never of use, and no GPU takes the workgroups for them. */
export const MOST_BASES = 2 ** 20;

const SCHEMA = v.object({
  num_bases: v.pipe(positiveInteger, v.maxValue(MOST_BASES, `it must be at most ${MOST_BASES}`)),
  pranc_alpha: v.optional(finiteNumber, 1),
  pranc_dropout: dropoutShare,
  ...LAYER_KEYS,
});

/** Reads the settings. Throws `RandloraError` "format" for a value that makes no sense. */
export function prancConfig({ settings, configFile: file }: WrittenSettings): PrancConfig {
  const read = parseSettings(SCHEMA, settings, file);
  return {
    bases: read.num_bases,
    alpha: read.pranc_alpha,
    ...layerSettings(read, file),
  };
}
