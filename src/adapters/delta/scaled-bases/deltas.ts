import type { Pairing } from "../../../compute/device/pairing.ts";
import type { Adapter } from "../../files/adapter.ts";
import { readAllValues } from "../../files/values.ts";
import type { FittedLayer } from "../../method/fit.ts";
import type { Bases } from "../../frozen/drawing/bases.ts";
import type { DeltaSource } from "../../method/plan.ts";
import { deltaSource } from "../on-device.ts";
import { DeltaBases } from "./delta.ts";
import { deltaReference } from "./delta-reference.ts";
import type { BilinearShape } from "./shape.ts";

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
