import { roundToGrid } from "../../compute/random/grid.ts";
import type { FloatGrid, GeneratorName, Sparsity } from "../../compute/random/names.ts";
import { fingerprint } from "../frozen/drawing/draw.ts";
import type { BasesSpec } from "../frozen/drawing/bases.ts";
import type { Pairing } from "../../compute/device/pairing.ts";
import { basesShape } from "./generator.ts";
import type { BasesRecord } from "./record.ts";
import { type StdCache, userStdCache } from "../frozen/drawing/std-cache.ts";
import type { BilinearShape } from "../delta/scaled-bases/shape.ts";

/** What the bases of a new adapter depend on. */
export interface NewBases {
  /** ΔW (out, in) of every module that the targets match. */
  readonly modules: readonly { readonly out: number; readonly in: number }[];
  readonly r: number;
  readonly generator: GeneratorName;
  /** `projection_prng_key`. */
  readonly key: bigint;
  readonly sparsity: Sparsity;
  /** The grid that elements end on: PEFT casts them to the base weights' dtype. */
  readonly grid: FloatGrid;
}

/** The bases that PEFT would draw for these modules: at the largest of their outputs and inputs. */
export function newBasesSpec({ modules, r, generator, key, sparsity, grid }: NewBases): BasesSpec {
  return { generator, key, r, ...basesShape(modules), sparsity, grid };
}

/** What is saved of drawn bases, so that a later redraw that differs is noticed. May draw the whole stream once. */
export function basesRecord(spec: BasesSpec, pairing: Pairing, cache: StdCache = userStdCache()): BasesRecord {
  const { stdA, stdB, sha256 } = fingerprint(spec, cache);
  const { generator, max, min, grid } = spec;
  return { generator, pairing, max, min, dtype: grid, stdA: stdA ?? undefined, stdB: stdB ?? undefined, sha256 };
}

/** λ (r, n) and γ (n, m) of one module, row-major, without gaps. */
export interface ModuleValues {
  readonly lambda: Float32Array<ArrayBuffer>;
  readonly gamma: Float32Array<ArrayBuffer>;
}

/**
 * PEFT's start: λ = 0, so that ΔW = 0, and γ = 1/max(n, m) (tuners/randlora/layer.py), which PEFT casts to the base
 * weight's dtype and back, as it does with the bases.
 */
export function initialValues({ r, bases, cols }: BilinearShape, grid: FloatGrid): ModuleValues {
  return {
    lambda: new Float32Array(r * bases),
    gamma: new Float32Array(bases * cols).fill(roundToGrid(1 / Math.max(bases, cols), grid)),
  };
}
