import type { DeltaSample } from "./delta-block.ts";
import type { Bases } from "../../bases/bases.ts";
import { readElement } from "../../bases/storage.ts";

/**
 * Which column of B meets which row of λ·A·γ. `peft`: those with the same flat index, B's (base j, k) → j·r + k against
 * (k, base j) → k·n + j. `paper`: equation 4, Σ_j B_j Λ_j A Γ_j, base with base.
 */
export type Pairing = "peft" | "paper";

/** A layer's share of an adapter. `scale` is α/r times whatever the user multiplies it by. */
export interface DeltaLayer {
  readonly outFeatures: number;
  readonly inFeatures: number;
  /** λ (r, n), row-major, n = ⌈min(out, in)/r⌉. */
  readonly lambda: ArrayLike<number>;
  /** γ (n, m), row-major, m = min(out, in). */
  readonly gamma: ArrayLike<number>;
  readonly scale: number;
  readonly pairing: Pairing;
}

const range = (length: number): number[] => Array.from({ length }, (_, index) => index);

/**
 * ΔW (out, in) in double precision by the plain sum over n·r terms, at `sample.rows` × `sample.cols` (everything by
 * default), row-major. ΔW = scale · B·S with S = λ·A·γ when in ≤ out, else its transpose (PEFT, tuners/randlora/layer.py).
 * The yardstick for the kernel and for `merge --verify`; slow.
 */
export function deltaReference(bases: Bases, layer: DeltaLayer, sample?: DeltaSample): Float64Array {
  const { outFeatures, inFeatures, scale } = layer;
  const rows = sample?.rows ?? range(outFeatures);
  const cols = sample?.cols ?? range(inFeatures);
  const transposed = outFeatures < inFeatures;
  const m = Math.min(outFeatures, inFeatures);
  const n = Math.ceil(m / bases.r);
  const terms = n * bases.r;
  // Along M one row of B, along m one column of S, each gathered once.
  const left = gather(transposed ? cols : rows, terms, (o, p) => readElement(bases.b, o, p));
  const right = gather(transposed ? rows : cols, terms, (c, p) => scaledA(bases, layer, m, n, p, c));
  const delta = new Float64Array(rows.length * cols.length);
  for (let i = 0; i < rows.length; i++) {
    for (let j = 0; j < cols.length; j++) {
      const o = (transposed ? j : i) * terms;
      const c = (transposed ? i : j) * terms;
      let sum = 0;
      for (let p = 0; p < terms; p++) sum += (left[o + p] ?? 0) * (right[c + p] ?? 0);
      delta[i * cols.length + j] = scale * sum;
    }
  }
  return delta;
}

/** Element of S that meets column p of B, in column c: λ[k, j]·A[k, c]·γ[j, c]. */
function scaledA(bases: Bases, layer: DeltaLayer, m: number, n: number, p: number, c: number): number {
  const k = layer.pairing === "peft" ? Math.floor(p / n) : p % bases.r;
  const j = layer.pairing === "peft" ? p % n : Math.floor(p / bases.r);
  return (layer.lambda[k * n + j] ?? 0) * readElement(bases.a, k, c) * (layer.gamma[j * m + c] ?? 0);
}

function gather(
  indices: readonly number[],
  terms: number,
  element: (index: number, term: number) => number,
): Float64Array {
  const values = new Float64Array(indices.length * terms);
  indices.forEach((index, i) => {
    for (let p = 0; p < terms; p++) values[i * terms + p] = element(index, p);
  });
  return values;
}
