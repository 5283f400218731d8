import { type Pairing, pairOf } from "../../../compute/device/pairing.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { BilinearShape } from "./shape.ts";
import type { DeltaSample, DeltaSource } from "../../method/plan.ts";
import type { Bases } from "../../frozen/drawing/bases.ts";
import { readElement } from "../../../compute/device/matrix-storage.ts";
import type { Adapter } from "../../files/adapter.ts";
import { readAllValues } from "../../files/values.ts";
import type { FittedLayer } from "../../method/fit.ts";
import { deltaSource } from "../on-device.ts";
import { DeltaBases } from "./delta.ts";

/** A layer's share of an adapter. `scale` is α/r times whatever the user multiplies it by. */
export interface DeltaLayer {
  readonly shape: BilinearShape;
  /** λ (r, n), row-major. */
  readonly lambda: ArrayLike<number>;
  /** γ (n, cols), row-major. */
  readonly gamma: ArrayLike<number>;
  readonly scale: number;
  readonly pairing: Pairing;
}

const range = (length: number): number[] => Array.from({ length }, (_, index) => index);

/**
 * ΔW (out, in) in double precision by the plain sum over n·r terms, at `sample.rows` × `sample.cols` (everything by
 * default), row-major: scale · B̂Ŝ, or the transpose of that.
 * The yardstick for the kernel and for `merge --verify`; slow.
 */
export function deltaReference(bases: Bases, layer: DeltaLayer, sample?: DeltaSample): Float64Array {
  const { shape, scale } = layer;
  const { terms, tall } = shape;
  const rows = sample?.rows ?? range(shape.out);
  const cols = sample?.cols ?? range(shape.in);
  // One row of B̂ and one column of Ŝ, each gathered once.
  const left = gather(tall ? rows : cols, terms, (o, q) => readElement(bases.b, o, q));
  const right = gather(tall ? cols : rows, terms, (c, q) => scaledA(bases, layer, q, c));
  const delta = new Float64Array(rows.length * cols.length);
  for (let i = 0; i < rows.length; i++) {
    for (let j = 0; j < cols.length; j++) {
      const o = (tall ? i : j) * terms;
      const c = (tall ? j : i) * terms;
      let sum = 0;
      for (let p = 0; p < terms; p++) sum += itemAt(left, o + p) * itemAt(right, c + p);
      delta[i * cols.length + j] = scale * sum;
    }
  }
  return delta;
}

/** Element (q, c) of Ŝ: λ[k, j]·A[k, c]·γ[j, c]. */
function scaledA(bases: Bases, { shape, pairing, lambda, gamma }: DeltaLayer, q: number, c: number): number {
  const { k, j } = pairOf(pairing, q, shape.r, shape.bases);
  return itemAt(lambda, k * shape.bases + j) * readElement(bases.a, k, c) * itemAt(gamma, j * shape.cols + c);
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

/** One adapted weight: ΔW = scale · B̂Ŝ(λ, γ), or the transpose of that. */
export interface BilinearLayer extends FittedLayer<"lambda" | "gamma"> {
  readonly sizes: BilinearShape;
}

/** What ΔW of a module is made of. */
export interface BilinearPlan {
  readonly adapter: Adapter;
  readonly pairing: Pairing;
  readonly scale: number;
  readonly layers: readonly BilinearLayer[];
}

/** ΔW of layers that share a pair of bases. */
export function bilinearDeltas({ adapter, pairing, scale, layers }: BilinearPlan, bases: Bases): DeltaSource {
  return deltaSource(layers, {
    share: (gpu) => DeltaBases.create(gpu, bases, pairing),
    async place({ sizes: shape, conv1d, tensors }, shared, { gpu, factor }) {
      const parameters = await readAllValues(adapter, tensors);
      const layer = shared.layer({ shape, weightIsTransposed: conv1d, scale: scale * factor, ...parameters }, gpu);
      return (run, block) => shared.form(run, layer, block);
    },
    async reference({ sizes: shape, tensors }, { factor, sample }) {
      const parameters = await readAllValues(adapter, tensors);
      return deltaReference(bases, { shape, ...parameters, scale: scale * factor, pairing }, sample);
    },
  });
}
