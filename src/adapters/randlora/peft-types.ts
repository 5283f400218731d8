import type { Pairing } from "../../compute/device/pairing.ts";

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
