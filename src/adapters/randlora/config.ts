import * as v from "valibot";
import type { Pairing } from "../../compute/device/pairing.ts";
import { canDraw, type GeneratorName, type Sparsity } from "../../compute/random/names.ts";
import { Contradiction } from "../../files/errors.ts";
import type { Adapter, WrittenSettings } from "../files/adapter.ts";
import {
  biasKey,
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
import { BASES_SETTINGS } from "../method/settings.ts";

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
  /** Very sparse wins when both are asked for. */
  readonly sparsity: Sparsity;
  /** The rows of W + ΔW are rescaled to magnitudes of their own. */
  readonly dora: boolean;
  /** What the `peft_type` means; undefined where it leaves that to the record of the bases (DORA_TYPES.peft). */
  readonly pairing: Pairing | undefined;
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
  /** How λ and γ began. */
  init_weights: v.optional(v.unknown()),
};

export const RANDLORA_KEYS: ReadonlySet<string> = new Set(Object.keys(OWN_KEYS));

const SCHEMA = v.object({
  peft_type: v.optional(text),
  ...OWN_KEYS,
  bias: biasKey("randlora_only"),
  ...LAYER_KEYS,
});

/**
 * Reads PEFT's settings for RandLoRA (peft/tuners/randlora/config.py).
 * Throws `RandloraError` "format" for a value that makes no sense.
 */
export function randloraConfig({ settings, configFile: file }: WrittenSettings): RandloraConfig {
  const read = parseSettings(SCHEMA, settings, file);
  return {
    r: read.r,
    half: isOneOf([PEFT_TYPES["half-rank"], DORA_TYPES["half-rank"]], read.peft_type),
    alpha: read.randlora_alpha,
    key: read.projection_prng_key,
    sparsity: read.very_sparse ? "very-sparse" : read.sparse ? "sparse" : "dense",
    dora: isOneOf(Object.values(DORA_TYPES), read.peft_type),
    pairing: pairingOfType(read.peft_type),
    ...layerSettings(read, file),
  };
}

function isOneOf(types: readonly string[], type: string | undefined): boolean {
  return type !== undefined && types.includes(type);
}

/** Is this RandLoRA-a: two factors, each a sum over bases of its own? */
export function isRankR({ config }: Pick<Adapter, "config">): boolean {
  const type = config["peft_type"];
  return type === PEFT_TYPES["rank-r"] || type === DORA_TYPES["rank-r"];
}

/**
 * What ΔW is a sum of: PEFT's pairing of bases and rows of Ŝ, the paper's (equation 4), or PEFT's over the first half of
 * the bases ("RandLoRA-b" of the paper's table 3), whose rank is half of W's at most; or what it is the product of: two
 * sums ("RandLoRA-a"), whose rank is r at most.
 */
export const VARIANTS = ["peft", "paper", "half-rank", "rank-r"] as const;

export type Variant = (typeof VARIANTS)[number];

/** PEFT's name for RandLoRA, and ours for what PEFT has not. */
export const PEFT_TYPES = {
  peft: "RANDLORA",
  paper: "RANDLORA_PAPER",
  "half-rank": "RANDLORA_HALF_RANK",
  "rank-r": "RANDLORA_RANK_R",
} as const satisfies Record<Variant, string>;

function pairingOfType(type: string | undefined): Pairing | undefined {
  if (type === DORA_TYPES.peft) return undefined;
  const variant = VARIANTS.find((name) => PEFT_TYPES[name] === type || DORA_TYPES[name] === type);
  return pairingOf(variant ?? "peft");
}

/** Which bases are paired with which rows of Ŝ; where there is no Ŝ, base j of B with column j of λ, as in the paper. */
export function pairingOf(variant: Variant): Pairing {
  return variant === "paper" || variant === "rank-r" ? "paper" : "peft";
}

/** The same with magnitudes of the rows of W + ΔW (the paper's repository: `use_dora`); the bases tell the pairing. */
export const DORA_TYPES = {
  peft: "RANDLORA_DORA",
  paper: "RANDLORA_DORA",
  "half-rank": "RANDLORA_HALF_RANK_DORA",
  "rank-r": "RANDLORA_RANK_R_DORA",
} as const satisfies Record<Variant, string>;

/** Every `peft_type` of RandLoRA. */
export const ALL_TYPES: readonly string[] = [...new Set([...Object.values(PEFT_TYPES), ...Object.values(DORA_TYPES)])];

/** Settings that RandLoRA alone has. */
export const RANDLORA_SETTINGS = {
  /** The pairing of bases, how many, or what else ΔW is made of. */
  variant: v.picklist(VARIANTS),
  sparsity: v.picklist(["dense", "sparse", "very-sparse"]),
  ...BASES_SETTINGS,
  /** Train the magnitudes of the rows of W + ΔW as well. */
  dora: v.optional(v.boolean(), false),
  /** γ's learning rate, as a share of λ's. */
  gammaRate: v.optional(v.pipe(v.number(), v.finite(), v.gtValue(0)), 1),
} as const;

export type RandloraSettings = Readonly<v.InferOutput<v.StrictObjectSchema<typeof RANDLORA_SETTINGS, undefined>>>;

/** Defaults for what was not given. @throws RandloraError `usage` for a generator that does not draw such bases, an order that there is not */
export function resolveRandlora(given: Partial<RandloraSettings>): RandloraSettings {
  const { variant = "peft", sparsity = "dense", basisSeed = "0", projections = true, compute = "auto" } = given;
  const { dora = false, gammaRate = 1 } = given;
  const { generator = usualGenerator(sparsity) } = given;
  if (generator !== null && !canDraw(generator, sparsity)) {
    const cause = `--generator ${generator} does not draw ${sparsity} bases`;
    const hint = `${usualGenerator(sparsity)} does, and so does philox-v1`;
    throw new Contradiction(["generator", "sparse", "verySparse"], cause, hint);
  }
  if (variant === "rank-r" && compute !== "auto") {
    const cause = `--compute ${compute}: --variant rank-r has one order of products, LoRA's`;
    throw new Contradiction(["compute", "variant"], cause, "leave --compute out");
  }
  return { variant, sparsity, basisSeed, generator, projections, compute, dora, gammaRate };
}

function usualGenerator(sparsity: Sparsity): GeneratorName {
  return sparsity === "dense" ? "torch-mt19937-bf16-v2" : "torch-mt19937-ternary";
}
