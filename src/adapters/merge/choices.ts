/**
 * `--combine`: how ΔW of several adapters become one, in the words of PEFT's `add_weighted_adapter` (there `sum` is
 * `linear`) and of mergekit.
 */
const COMBINATIONS = ["sum", "ties", "dare-linear", "dare-ties", "magnitude-prune"] as const;
export type Combination = (typeof COMBINATIONS)[number];

/** `dare` is what its authors describe: their random choice before a sum. */
export const COMBINE_CHOICES = ["sum", "ties", "dare", "dare-linear", "dare-ties", "magnitude-prune"] as const;

/** `--majority-sign`: the sign of the sum, or that of most adapters. */
export const MAJORITY_SIGNS = ["total", "frequency"] as const;
export type MajoritySign = (typeof MAJORITY_SIGNS)[number];

/** How elements that are left of each ΔW were chosen: the largest, or some at random. */
export function isRandom(combination: Combination): boolean {
  return combination === "dare-linear" || combination === "dare-ties";
}

/** Does it leave out adapters that disagree with the majority on the sign of an element? */
export function electsSign(combination: Combination): boolean {
  return combination === "ties" || combination === "dare-ties";
}

/** `--outtype`: what the matrices of a GGUF file are stored as; vectors are always F32. */
export const OUTTYPES = ["keep", "f32", "f16", "bf16", "q8_0", "q4_0"] as const;
export type Outtype = (typeof OUTTYPES)[number];
