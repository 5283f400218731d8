import * as v from "valibot";
import { RandloraError } from "../../../files/errors.ts";
import { MOST_BASES } from "../config.ts";
import { BASES_SETTINGS } from "../../training/bases-settings.ts";

/** Settings that NoLA has beside those of every adapter. */
export const NOLA_SETTINGS = {
  /** k: coefficients of A, and of B, of each module. */
  bases: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(MOST_BASES)),
  basisSeed: BASES_SETTINGS.basisSeed,
} as const;

export type NolaSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof NOLA_SETTINGS, undefined>>>;

/** The authors' number of bases for language models (arXiv:2310.02556, section 3.1). @throws RandloraError `usage` for too many */
export function resolveNola({ bases = 1024, basisSeed = "0" }: Partial<NolaSettings>): NolaSettings {
  if (bases > MOST_BASES) {
    throw new RandloraError("usage", `--bases ${bases}: at most ${MOST_BASES} can be trained`, "give fewer");
  }
  return { bases, basisSeed };
}
