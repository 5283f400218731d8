import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { Adapter } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import { bilinearDeltas, type BilinearLayer } from "../delta/scaled-bases/delta.ts";
import { type BilinearShape, bilinearShape } from "../delta/scaled-bases/shape.ts";
import { isShared } from "../files/shared-tensors.ts";
import { fitAdapter, type TrainedTensors } from "../method/fit.ts";
import type { BasesExtent } from "../frozen/drawing/bases.ts";
import type { FrozenRecord } from "../frozen/kind.ts";
import { chooseFrozen, type FrozenChoice, loadFrozen, sizesOf } from "../frozen/origin.ts";
import type { AdapterPlan, PlanOptions } from "../method/plan.ts";
import { type VeraConfig, veraConfig } from "./config.ts";
import { type FactorsSizes, VERA_FACTORS } from "./factors.ts";

/**
 * The sizes of a module as VeRA has it (Kopiczko et al., arXiv:2310.11454): ΔW = diag(λ_b)·B·diag(λ_d)·A. Read from its
 * other side, ΔWᵀ = Aᵀ·diag(λ_d)·Bᵀ·diag(λ_b), it is one basis of bilinear/, whatever is larger: B̂ is Aᵀ (in, r), A is
 * Bᵀ (r, out), λ (r, 1) is λ_d, γ (1, out) is λ_b.
 */
export function veraShape(out: number, input: number, r: number): BilinearShape {
  return bilinearShape({ out, in: input, r, bases: 1, tall: false });
}

/** With one basis both pairings are the same; this one lets kernels read γ once and A row by row. */
export const VERA_PAIRING = "paper";

/** Numbers in λ_d (r) and λ_b (out) of a module. */
export function trainedNumbers(out: number, r: number): number {
  return r + out;
}

/** What VeRA trains of a module: λ_b, which is γ (1, out) of one basis, and λ_d, which is its λ (r, 1). */
export const VERA_TENSORS: TrainedTensors<Pick<VeraConfig, "r">, "gamma" | "lambda"> = {
  names: { gamma: "vera_lambda_b", lambda: "vera_lambda_d" },
  shapes: ({ r }, { out }) => ({ gamma: [out], lambda: [r] }),
  meaning: "λ_d is (r) and λ_b (out)",
};

/** Everything that applying a VeRA adapter to a base takes, checked; no tensor has been read yet. */
export interface VeraPlan extends AdapterPlan, FrozenChoice<FactorsSizes, FrozenRecord & FactorsSizes> {
  readonly config: VeraConfig;
  readonly layers: readonly BilinearLayer[];
  /** How far the layers need the factors, which are held as their transposes. */
  readonly extent: BasesExtent;
}

/**
 * Fits a VeRA adapter (Kopiczko et al., arXiv:2310.11454) to a base: finds each adapted weight, checks every shape, decides
 * where the factors come from. Throws `RandloraError` "adapter" with the reason when it cannot be applied.
 */
export function planVera(adapter: Adapter, base: BaseModel, options: PlanOptions = {}): VeraPlan {
  const config = veraConfig(adapter);
  const isOwn = (name: string) => isShared(name, VERA_FACTORS);
  const fit = fitAdapter(adapter, base, config, VERA_TENSORS, { isOwn });
  const { shift } = fit;
  const layers = fit.layers.map((layer): BilinearLayer => {
    return { ...layer, sizes: veraShape(layer.out, layer.in, config.r) };
  });
  const choice = chooseFrozen(VERA_FACTORS, { adapter, config, base, shift, layers }, options);
  requireLargeEnough(adapter, sizesOf(choice.origin), layers);
  const { maxIn, maxOut } = VERA_FACTORS.sizesFor(layers);
  const extent = { rows: maxIn, bases: 1, cols: maxOut };
  return {
    ...fit,
    ...choice,
    layers,
    extent,
    // PEFT's vera/layer.py, merge: ΔW is f32, as the factors are once they are cast back, and is added as it is.
    roundsDelta: false,
    load: async (signal) =>
      bilinearDeltas(
        { adapter, layers, pairing: VERA_PAIRING, scale: 1 },
        await loadFrozen(VERA_FACTORS, adapter.file, choice.origin, config, extent, { signal }),
      ),
  };
}

/** PEFT refuses a layer beyond the factors, too (tuners/vera/layer.py, update_layer). */
function requireLargeEnough(adapter: Adapter, { maxIn, maxOut }: FactorsSizes, layers: readonly BilinearLayer[]): void {
  const beyond = layers.find(({ out, in: input }) => out > maxOut || input > maxIn);
  if (beyond === undefined) return;
  const layer = `${quote(beyond.module)} is (${beyond.out}, ${beyond.in})`;
  const cause = `${layer}, and the random factors are for at most ${maxOut} outputs and ${maxIn} inputs`;
  const hint = "the adapter belongs to another model, or its recorded shape is wrong";
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
}
