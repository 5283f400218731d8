import type { Members } from "../parameters.ts";

/** Ŝ, formed as it is loaded: Ŝ[q] = λ[q] · (slow[q / fastCount] ∘ fast[q % fastCount]), all F32. */
export const SCALED_TERMS = {
  fastCount: "u32",
  lambda: "pointer",
  fast: "matrix",
  slow: "matrix",
} as const satisfies Members;

/** Rows of A (r, m) and γ (n, m), and λ (r, n): row k and row j make row q of Ŝ. */
export const PAIRED_ROWS = {
  bases: "u32",
  rank: "u32",
  /** q = k·n + j (PEFT's pairing), or j·r + k. */
  peft: "flag",
  a: "matrix",
  lambda: "matrix",
  gamma: "matrix",
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
