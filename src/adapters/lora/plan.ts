import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { Adapter } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import { type Replacement, tiedReplacements } from "../base/replacements.ts";
import { lowRankDeltas, type LowRankLayer, storedFactor } from "../delta/low-rank/product.ts";
import { type MagnitudeName, moduleOfMagnitude } from "../delta/magnitude/vectors.ts";
import { fitAdapter, type FittedLayer, requireShapes, trainedModules } from "../method/fit.ts";
import type { AdapterPlan } from "../method/plan.ts";
import { adaptsExperts, LORA_TENSORS, type LoraConfig, loraConfig, rankAndScale } from "./config.ts";
import { type ExpertFactors, expertLayers, findExpertFactors } from "./experts.ts";

/** What DoRA adds to a module. */
export const MAGNITUDE: MagnitudeName = "lora_magnitude_vector";

/** One adapted weight: ΔW = scale · B·A. */
export interface LoraLayer extends FittedLayer<"a" | "b"> {
  readonly rank: number;
  /** α/r, or α/√r. */
  readonly scale: number;
}

/** Everything that applying a LoRA adapter to a base takes, checked; no tensor has been read yet. */
export interface LoraPlan {
  readonly adapter: Adapter;
  readonly config: LoraConfig;
  readonly layers: readonly LoraLayer[];
  /** Those of experts, by the parameters that have all of a layer. */
  readonly experts: readonly ExpertFactors[];
  readonly replacements: readonly Replacement[];
}

/**
 * Fits a LoRA adapter (Hu et al., arXiv:2106.09685) to a base: finds each adapted weight, checks every shape. Throws
 * `RandloraError` "adapter" with the reason when it cannot be applied: module missing, shape different, quantized base.
 */
export function planLora(adapter: Adapter, base: BaseModel, config = loraConfig(adapter)): LoraPlan {
  refuseVariants(adapter, config);
  const isOwn = (name: string) => config.dora && moduleOfMagnitude(name, MAGNITUDE) !== undefined;
  const experts = findExpertFactors(adapter, base, config);
  const ofExperts = new Set(experts.map(({ prefix }) => prefix));
  const modules = trainedModules(adapter, LORA_TENSORS).filter(({ module }) => !ofExperts.has(module));
  const { layers, replacements } = fitAdapter(adapter, base, config, LORA_TENSORS, { isOwn, modules });
  return {
    adapter,
    config,
    layers: layers.map((layer) => ({ ...layer, ...rankAndScale(config, layer.module) })),
    experts,
    replacements: config.tied ? tiedReplacements(replacements, base) : replacements,
  };
}

/** A LoRA adapter without its base: the factors say how large each W is. @throws RandloraError as {@link planLora} */
export function planLoraAlone(adapter: Adapter): AdapterPlan {
  const config = loraConfig(adapter);
  const layers = loraLayersAlone(adapter, config);
  return loraAdapterPlan({ adapter, config, layers, experts: [], replacements: [] }, []);
}

/** Its modules, each with its factors, rank and scale. @throws RandloraError as {@link planLora} */
export function loraLayersAlone(adapter: Adapter, config = loraConfig(adapter)): LoraLayer[] {
  refuseVariants(adapter, config);
  if (adaptsExperts(config)) {
    const cause = "its target_parameters are parts of a base: the file alone does not say how many experts there are";
    throw new RandloraError(
      "adapter",
      `${oneLine(adapter.file)}: ${cause}`,
      "name the model that it is for: --base MODEL",
    );
  }
  return trainedModules(adapter, LORA_TENSORS).map(({ module, tensors }): LoraLayer => {
    const [out = 0, input = 0] = [tensors.b.shape[0], tensors.a.shape[1]];
    const tensor = `${module}.weight`;
    const weight = { tensor, source: tensor, dtype: "F32", shape: [out, input] } as const;
    const layer = { ...weight, module, tensors, out, in: input, conv1d: false };
    requireShapes(adapter, config, LORA_TENSORS, layer, undefined);
    return { ...layer, ...rankAndScale(config, module) };
  });
}

/** A LoRA adapter among those of other methods. */
export function loraAdapterPlan(plan: LoraPlan, notes: readonly string[]): AdapterPlan {
  const { adapter, layers, replacements } = plan;
  const ofExperts = expertLayers(adapter, plan.experts);
  return {
    adapter,
    layers: [...layers, ...ofExperts],
    replacements,
    notes,
    bases: "none",
    // PEFT's lora/layer.py, merge: ΔW is added in f32 as it is, whatever the weight's dtype.
    roundsDelta: false,
    load: async () => lowRankDeltas([...storedLayers(adapter, layers), ...ofExperts]),
  };
}

/** The layers with factors that are read from the adapter's file. */
export function storedLayers(adapter: Adapter, layers: readonly LoraLayer[]): LowRankLayer[] {
  return layers.map(({ tensors: { a, b }, ...layer }) => {
    return { ...layer, a: storedFactor(adapter, a), b: storedFactor(adapter, b) };
  });
}

/** Tensors of LoRA's variants, in case the settings say nothing of them. */
const VARIANTS: readonly (readonly [ending: RegExp, what: string])[] = [
  [/\.lora_embedding_[AB](?:\.weight)?$/, "adapts an embedding"],
  [/\.lora_magnitude_vector(?:\.weight)?$/, "is DoRA's"],
  [/\.lora_[AB]\.bias$/, "is a bias of LoRA's own"],
  [/\.lora_diag$/, "is KaSA's"],
];

function refuseVariants({ tensors, file }: Adapter, { dora }: LoraConfig): void {
  for (const name of tensors.keys()) {
    if (dora && moduleOfMagnitude(name, MAGNITUDE) !== undefined) continue;
    const variant = VARIANTS.find(([ending]) => ending.test(name));
    if (variant === undefined) continue;
    const cause = `tensor ${quote(name)} ${variant[1]}, which is not supported`;
    throw new RandloraError("adapter", `${oneLine(file)}: ${cause}`, "merge it with PEFT: merge_and_unload()");
  }
}
