import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { FactorsExtent } from "../frozen/drawing/factors.ts";
import type { BaseModel } from "../base/base.ts";
import { bilinearDeltas } from "../delta/scaled-bases/deltas.ts";
import { type Fit, fitAdapter, type FittedLayer, type TrainedTensors } from "../fit.ts";
import type { AdapterPlan, PlanOptions } from "../plan.ts";
import type { Adapter } from "../adapter.ts";
import { readAllValues } from "../files/values.ts";
import { type VeraConfig, veraConfig } from "./config.ts";
import { isFactorTensor } from "./saved.ts";
import { VERA_PAIRING, veraShape } from "./shape.ts";
import { chooseFactors, extentOf, type FactorsSource, loadFactors } from "./source.ts";

/** What VeRA trains of a module: λ_b, which is γ (1, out) of one basis, and λ_d, which is its λ (r, 1). */
export const VERA_TENSORS: TrainedTensors<VeraConfig, "gamma" | "lambda"> = {
  names: { gamma: "vera_lambda_b", lambda: "vera_lambda_d" },
  shapes: ({ r }, { out }) => ({ gamma: [out], lambda: [r] }),
  meaning: "λ_d is (r) and λ_b (out)",
};

/** One adapted weight. */
export type VeraLayer = FittedLayer<"gamma" | "lambda">;

/** Everything that applying a VeRA adapter to a base takes, checked; no tensor has been read yet. */
export interface VeraPlan extends Fit<VeraConfig, "gamma" | "lambda"> {
  /** Where the factors come from; {@link loadFactors} brings them. */
  readonly factors: FactorsSource;
  /** How far the layers need them. */
  readonly extent: FactorsExtent;
  /** What the user should know: one line each. */
  readonly notes: readonly string[];
}

/**
 * Fits a VeRA adapter (Kopiczko et al., arXiv:2310.11454) to a base: finds each adapted weight, checks every shape, decides
 * where the factors come from. Throws `RandloraError` "adapter" with the reason when it cannot be applied.
 */
export function planVera(
  adapter: Adapter,
  base: BaseModel,
  { generator, amongOthers = false }: PlanOptions = {},
): VeraPlan {
  const config = veraConfig(adapter);
  const fit = fitAdapter(adapter, base, config, VERA_TENSORS, { isOwn: isFactorTensor });
  const { layers, shift } = fit;
  const { factors, notes } = chooseFactors({ adapter, config, base, shift, layers, generator, amongOthers });
  requireLargeEnough(adapter, factors, layers);
  return { ...fit, factors, extent: extentOf(layers), notes };
}

/** PEFT refuses a layer beyond the factors, too (tuners/vera/layer.py, update_layer). */
function requireLargeEnough(adapter: Adapter, factors: FactorsSource, layers: readonly VeraLayer[]): void {
  const { maxIn, maxOut } = factors.kind === "drawn" ? factors.spec : factors;
  const beyond = layers.find(({ out, in: input }) => out > maxOut || input > maxIn);
  if (beyond === undefined) return;
  const layer = `${quote(beyond.module)} is (${beyond.out}, ${beyond.in})`;
  const cause = `${layer}, and the random factors are for at most ${maxOut} outputs and ${maxIn} inputs`;
  const hint = "the adapter belongs to another model, or its recorded shape is wrong";
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
}

/** A VeRA adapter among those of other methods. */
export function veraAdapterPlan({ adapter, config, layers, factors, extent, ...plan }: VeraPlan): AdapterPlan {
  return {
    adapter,
    layers,
    replacements: plan.replacements,
    notes: plan.notes,
    bases: factors.kind === "drawn" ? factors.spec.generator : "saved",
    // PEFT's vera/layer.py, merge: ΔW is f32, as the factors are once they are cast back, and is added as it is.
    roundsDelta: false,
    load: async (signal) =>
      bilinearDeltas(
        await loadFactors(adapter, factors, extent, signal),
        VERA_PAIRING,
        layers.map((layer) => {
          const { out, in: input, conv1d, tensors } = layer;
          const read = () => readAllValues(adapter, tensors);
          return { shape: veraShape(out, input, config.r), conv1d, scale: 1, read };
        }),
      ),
  };
}
