import * as v from "valibot";
import { RandloraError } from "../../../files/errors.ts";
import { BASES_SETTINGS } from "../../training/bases-settings.ts";
import type { AdapterSettings } from "../../training/settings.ts";
import { MOST_BASES } from "../config.ts";

/** Settings of PRANC beside those of every adapter. */
export const PRANC_SETTINGS = {
  /** K: coefficients, and as many bases. */
  bases: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(MOST_BASES)),
  basisSeed: BASES_SETTINGS.basisSeed,
} as const;

export type PrancSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof PRANC_SETTINGS, undefined>>>;

/** The rank that run.json has, as of every adapter: one coefficient a basis. It decides nothing. */
export const NO_RANK = 1;

/** Defaults for what was not given. @throws RandloraError `usage` for a rank, which it has not, and too many bases */
export function resolvePranc(given: Partial<AdapterSettings & PrancSettings>): PrancSettings {
  const { rank, bases = 256, basisSeed = "0" } = given;
  if (rank !== undefined) {
    const cause = `--rank ${rank} has no meaning where whole networks are summed`;
    throw new RandloraError("usage", cause, "--bases sets the number of trainable parameters");
  }
  if (bases > MOST_BASES) {
    throw new RandloraError("usage", `--bases ${bases}: at most ${MOST_BASES} can be trained`, "give fewer");
  }
  return { bases, basisSeed };
}
