import type { Members } from "../parameters.ts";

/** Ŝ, formed as it is loaded: Ŝ[q] = λ[q] · (slow[q / fastCount] ∘ fast[q % fastCount]), all F32. */
export const SCALED_TERMS = {
  fastCount: "u32",
  lambda: "pointer",
  fast: "matrix",
  slow: "matrix",
} as const satisfies Members;

/** Where sums go. Tiles are counted from the first row of B̂ and the first column of Ŝ that the target has. */
export const DELTA_TARGET = {
  rows: "u32",
  cols: "u32",
  target: "target",
  /** B̂'s rows run along the target's columns. */
  transposed: "flag",
  /** The target is added to, not assigned. */
  accumulate: "flag",
  scale: "f32",
} as const satisfies Members;
