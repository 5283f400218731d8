import * as v from "valibot";
import { BASES_SETTINGS } from "../../training/bases-settings.ts";

/** Settings that NoLA has beside those of every adapter. */
export const NOLA_SETTINGS = {
  /** k: coefficients of A, and of B, of each module. */
  bases: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(2 ** 24)),
  basisSeed: BASES_SETTINGS.basisSeed,
} as const;

export type NolaSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof NOLA_SETTINGS, undefined>>>;

/** The authors' number of bases for language models (arXiv:2310.02556, section 3.1). */
export function resolveNola({ bases = 1024, basisSeed = "0" }: Partial<NolaSettings>): NolaSettings {
  return { bases, basisSeed };
}
