import { type BaseModel, findShift } from "../base/base.ts";
import { requireTargeted, requireUnquantized } from "../base/layers.ts";
import { findReplacements, type Replacement, tiedReplacements } from "../base/replacements.ts";
import type { Adapter } from "../adapter.ts";
import { type LoraConfig, loraConfig } from "./config.ts";
import { isOwn, loraFactors, type LoraLayer, loraLayers } from "./layers.ts";

/** Everything that applying a LoRA adapter to a base takes, checked; no tensor has been read yet. */
export interface LoraPlan {
  readonly adapter: Adapter;
  readonly config: LoraConfig;
  readonly layers: readonly LoraLayer[];
  readonly replacements: readonly Replacement[];
}

/**
 * Fits a LoRA adapter (Hu et al., arXiv:2106.09685) to a base: finds each adapted weight, checks every shape. Throws
 * `RandloraError` "adapter" with the reason when it cannot be applied: module missing, shape different, quantized base.
 */
export function planLora(adapter: Adapter, base: BaseModel, config = loraConfig(adapter)): LoraPlan {
  requireUnquantized(base);
  const factors = loraFactors(adapter, config);
  const modules = factors.map(({ module }) => module);
  requireTargeted(adapter, config.targets, modules, base);
  const shift = findShift(modules, base, adapter.path);
  const layers = loraLayers(adapter, config, factors, base, shift);
  const rules = {
    isOwn: (name: string) => isOwn(name, config),
    modules: new Set(modules),
    modulesToSave: config.modulesToSave,
    bias: config.bias !== "none",
  };
  const replacements = findReplacements(adapter, rules, base, shift);
  return { adapter, config, layers, replacements: config.tied ? tiedReplacements(replacements, base) : replacements };
}
