import { roundToGrid } from "../../compute/random/grid.ts";
import type { FloatGrid } from "../../compute/random/names.ts";
import type { BilinearShape } from "../delta/scaled-bases/shape.ts";

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
