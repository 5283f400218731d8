import * as v from "valibot";
import { GENERATOR_NAMES } from "../../compute/random/names.ts";

/** Settings of methods whose frozen bases are drawn from a seed. */
export const BASES_SETTINGS = {
  /** In decimal digits, −2^63 … 2^64 − 1. */
  basisSeed: v.pipe(v.string(), v.regex(/^-?\d{1,20}$/)),
  /** Null where the bases come from an adapter that does not say what drew them. */
  generator: v.nullable(v.picklist(GENERATOR_NAMES)),
  /** Write the bases beside the parameters, as PEFT does. */
  projections: v.boolean(),
  /** Order of products: by flops and memory, or one of them everywhere. */
  compute: v.picklist(["auto", "merged", "factored"]),
} as const;
