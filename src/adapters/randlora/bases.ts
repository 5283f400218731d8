import type { FloatGrid, GeneratorName, Sparsity } from "../../random/names.ts";
import type { BasisMatrix } from "./storage.ts";

/** What determines every element of a pair of bases A (r, 1, min) and B (max, ⌈min/r⌉, r). */
export interface BasesSpec {
  readonly generator: GeneratorName;
  /** `projection_prng_key`; −2^63 ≤ key < 2^64. */
  readonly key: bigint;
  readonly r: number;
  /** Largest and smallest dimension of the shape that the bases were drawn at. */
  readonly max: number;
  readonly min: number;
  readonly sparsity: Sparsity;
  /** The grid that normalised elements are rounded to: PEFT casts them to the base weights' dtype. */
  readonly grid: FloatGrid;
}

/** How much of them is needed: the largest layer's M = rows, n = bases and m = cols. */
export interface BasesExtent {
  readonly rows: number;
  readonly bases: number;
  readonly cols: number;
}

/**
 * A pair of bases ready for the GPU.
 * `a` is (r, cols); `b` is (rows, bases · r), its column the flat index j·r + k of base j, element k (PEFT's memory order).
 */
export interface Bases {
  readonly r: number;
  readonly extent: BasesExtent;
  readonly a: BasisMatrix;
  readonly b: BasisMatrix;
  /** The standard deviations that were divided by; null where nothing was normalised (philox, saved projections). */
  readonly stdA: number | null;
  readonly stdB: number | null;
}
