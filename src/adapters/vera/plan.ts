import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { FactorsExtent } from "../frozen/drawing/factors.ts";
import { type BaseModel, findShift } from "../base/base.ts";
import { bilinearDeltas } from "../delta/scaled-bases/deltas.ts";
import { requireTargeted, requireUnquantized } from "../base/layers.ts";
import type { AdapterPlan, PlanOptions } from "../plan.ts";
import { findReplacements, type Replacement } from "../base/replacements.ts";
import type { Adapter } from "../adapter.ts";
import { type VeraConfig, veraConfig } from "./config.ts";
import { isVector, readVectors, type VeraLayer, veraLayers, veraVectors } from "./layers.ts";
import { isFactorTensor } from "./saved.ts";
import { VERA_PAIRING, veraShape } from "./shape.ts";
import { chooseFactors, extentOf, type FactorsSource, loadFactors } from "./source.ts";

/** Everything that applying a VeRA adapter to a base takes, checked; no tensor has been read yet. */
export interface VeraPlan {
  readonly adapter: Adapter;
  readonly config: VeraConfig;
  readonly layers: readonly VeraLayer[];
  /** Where the factors come from; {@link loadFactors} brings them. */
  readonly factors: FactorsSource;
  /** How far the layers need them. */
  readonly extent: FactorsExtent;
  readonly replacements: readonly Replacement[];
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
  requireUnquantized(base);
  const config = veraConfig(adapter);
  const vectors = veraVectors(adapter, config);
  const modules = vectors.map(({ module }) => module);
  requireTargeted(adapter, config.targets, modules, base);
  const shift = findShift(modules, base, adapter.path);
  const layers = veraLayers(adapter, config, vectors, base, shift);
  const { factors, notes } = chooseFactors({ adapter, config, base, shift, layers, generator, amongOthers });
  requireLargeEnough(adapter, factors, layers);
  const rules = {
    isOwn: (name: string) => isVector(name) || isFactorTensor(name),
    modules: new Set(modules),
    modulesToSave: config.modulesToSave,
    bias: config.bias !== "none",
  };
  const replacements = findReplacements(adapter, rules, base, shift);
  return { adapter, config, layers, factors, extent: extentOf(layers), replacements, notes };
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
          const { out, in: input, conv1d } = layer;
          return { shape: veraShape(out, input, config.r), conv1d, scale: 1, read: () => readVectors(adapter, layer) };
        }),
      ),
  };
}
