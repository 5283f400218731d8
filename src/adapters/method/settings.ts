import * as v from "valibot";
import { GENERATOR_NAMES } from "../../compute/random/names.ts";
import { RandloraError } from "../../files/errors.ts";

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

/** Settings of methods that train one coefficient a basis: at most `most` of them. */
export function countedBases(most: number) {
  const bases = v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(most));
  return { bases, basisSeed: BASES_SETTINGS.basisSeed } as const;
}

/** Their values. @throws RandloraError `usage` for more than `most` */
export function resolveBases(most: number, bases: number, basisSeed = "0") {
  if (bases <= most) return { bases, basisSeed };
  throw new RandloraError("usage", `--bases ${bases}: at most ${most} can be trained`, "give fewer");
}

// What training can be told of an adapter, whatever its method; what a method has beside that stands in its folder.

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const path = v.pipe(v.string(), v.minLength(1));
const commit = v.pipe(v.string(), v.regex(/^[0-9a-f]{40}$/));

/** Settings of every method that adds to frozen weights. */
export const ADAPTER_SETTINGS = {
  rank: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  alpha: v.pipe(v.number(), v.finite()),
  /** Of the adapter's input. */
  dropout: v.pipe(v.number(), v.minValue(0), v.ltValue(1)),
  /** A regular expression or `all-linear`, or names. */
  targets: v.union([path, v.array(path)]),
  /** Only these layers; empty: all. */
  layers: v.array(count),
  /** The adapter to go on from. */
  initAdapter: v.nullable(path),
  /** Its commit, where it is a name on the Hub. */
  initCommit: v.optional(v.nullable(commit), null),
  /** Its fingerprint: until the run has a state of its own, it must stay what it was. */
  initSha256: v.optional(v.nullable(v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/))), null),
} as const;

export type AdapterSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof ADAPTER_SETTINGS, undefined>>>;

/** How the frozen base is held, or what is written of a whole model. */
const HELD_DTYPES = ["keep", "f32", "f16", "bf16"] as const;
export type HeldDtype = (typeof HELD_DTYPES)[number];
