import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { BasesExtent } from "../frozen/drawing/bases.ts";
import { chooseFrozen, type FrozenOrigin, loadFrozen, sizesOf } from "../frozen/origin.ts";
import type { FrozenRecord } from "../frozen/kind.ts";
import { isShared } from "../files/shared-tensors.ts";
import type { BaseModel } from "../base/base.ts";
import { bilinearDeltas } from "../delta/scaled-bases/deltas.ts";
import { type Fit, fitAdapter, type FittedLayer, type TrainedTensors } from "../fit.ts";
import type { AdapterPlan, PlanOptions } from "../plan.ts";
import type { Adapter } from "../adapter.ts";
import { readAllValues } from "../files/values.ts";
import { type VeraConfig, veraConfig } from "./config.ts";
import { type FactorsSizes, VERA_FACTORS } from "./factors.ts";
import { VERA_PAIRING, veraShape } from "./shape.ts";

/** What VeRA trains of a module: λ_b, which is γ (1, out) of one basis, and λ_d, which is its λ (r, 1). */
export const VERA_TENSORS: TrainedTensors<Pick<VeraConfig, "r">, "gamma" | "lambda"> = {
  names: { gamma: "vera_lambda_b", lambda: "vera_lambda_d" },
  shapes: ({ r }, { out }) => ({ gamma: [out], lambda: [r] }),
  meaning: "λ_d is (r) and λ_b (out)",
};

/** One adapted weight. */
export type VeraLayer = FittedLayer<"gamma" | "lambda">;

/** Everything that applying a VeRA adapter to a base takes, checked; no tensor has been read yet. */
export interface VeraPlan extends Fit<VeraConfig, "gamma" | "lambda"> {
  /** Where the factors come from; `loadFrozen` brings them. */
  readonly bases: FrozenOrigin<FactorsSizes, FrozenRecord & FactorsSizes>;
  /** What the file records of them. */
  readonly record: (FrozenRecord & FactorsSizes) | undefined;
  /** How far the layers need them. */
  readonly extent: BasesExtent;
  /** What the user should know: one line each. */
  readonly notes: readonly string[];
}

/**
 * Fits a VeRA adapter (Kopiczko et al., arXiv:2310.11454) to a base: finds each adapted weight, checks every shape, decides
 * where the factors come from. Throws `RandloraError` "adapter" with the reason when it cannot be applied.
 */
export function planVera(adapter: Adapter, base: BaseModel, options: PlanOptions = {}): VeraPlan {
  const config = veraConfig(adapter);
  const isOwn = (name: string) => isShared(name, VERA_FACTORS);
  const fit = fitAdapter(adapter, base, config, VERA_TENSORS, { isOwn });
  const { layers, shift } = fit;
  const choice = chooseFrozen(VERA_FACTORS, { adapter, config, base, shift, layers }, options);
  requireLargeEnough(adapter, sizesOf(choice.bases), layers);
  return { ...fit, ...choice, extent: extentOf(layers) };
}

/** How much of the factors, held as their transposes, layers need. */
export function extentOf(layers: readonly { readonly out: number; readonly in: number }[]): BasesExtent {
  const { maxIn, maxOut } = VERA_FACTORS.sizesFor(layers);
  return { rows: maxIn, bases: 1, cols: maxOut };
}

/** PEFT refuses a layer beyond the factors, too (tuners/vera/layer.py, update_layer). */
function requireLargeEnough(adapter: Adapter, { maxIn, maxOut }: FactorsSizes, layers: readonly VeraLayer[]): void {
  const beyond = layers.find(({ out, in: input }) => out > maxOut || input > maxIn);
  if (beyond === undefined) return;
  const layer = `${quote(beyond.module)} is (${beyond.out}, ${beyond.in})`;
  const cause = `${layer}, and the random factors are for at most ${maxOut} outputs and ${maxIn} inputs`;
  const hint = "the adapter belongs to another model, or its recorded shape is wrong";
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
}

/** A VeRA adapter among those of other methods. */
export function veraAdapterPlan({ adapter, config, layers, bases, extent, ...plan }: VeraPlan): AdapterPlan {
  return {
    adapter,
    layers,
    replacements: plan.replacements,
    notes: plan.notes,
    bases: bases.kind === "drawn" ? bases.drawn.generator : "saved",
    // PEFT's vera/layer.py, merge: ΔW is f32, as the factors are once they are cast back, and is added as it is.
    roundsDelta: false,
    load: async (signal) =>
      bilinearDeltas(
        await loadFrozen(VERA_FACTORS, adapter.file, bases, config, extent, { signal }),
        VERA_PAIRING,
        layers.map((layer) => {
          const { out, in: input, conv1d, tensors } = layer;
          const read = () => readAllValues(adapter, tensors);
          return { shape: veraShape(out, input, config.r), conv1d, scale: 1, read };
        }),
      ),
  };
}
