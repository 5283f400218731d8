import type { Members } from "../parameters.ts";

/** Ŝ, formed as it is loaded: the words of ScaledTerms in delta.ts of the assembly. */
export const SCALED_TERMS = {
  fastCount: "u32",
  lambda: "pointer",
  fast: "pointer",
  fastPitch: "u32",
  slow: "pointer",
  slowPitch: "u32",
} as const satisfies Members;

/** Where sums go: the words of DeltaTarget in delta-target.ts of the assembly. */
export const TARGET = {
  rows: "u32",
  cols: "u32",
  target: "pointer",
  pitch: "u32",
  transposed: "flag",
  accumulate: "flag",
  scale: "f32",
} as const satisfies Members;
