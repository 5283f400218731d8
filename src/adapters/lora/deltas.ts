import { lowRankDeltas } from "../delta/low-rank/deltas.ts";
import { type LowRankLayer, storedFactor } from "../delta/low-rank/layer.ts";
import type { AdapterPlan } from "../plan.ts";
import type { Adapter } from "../adapter.ts";
import type { LoraLayer } from "./layers.ts";
import type { LoraPlan } from "./plan.ts";

/** A LoRA adapter among those of other methods. */
export function loraAdapterPlan({ adapter, layers, replacements }: LoraPlan, notes: readonly string[]): AdapterPlan {
  return {
    adapter,
    layers,
    replacements,
    notes,
    bases: "none",
    // PEFT's lora/layer.py, merge: ΔW is added in f32 as it is, whatever the weight's dtype.
    roundsDelta: false,
    load: async () => lowRankDeltas(storedLayers(adapter, layers)),
  };
}

/** The layers with factors that are read from the adapter's file. */
export function storedLayers(adapter: Adapter, layers: readonly LoraLayer[]): LowRankLayer[] {
  return layers.map((layer) => ({ ...layer, a: storedFactor(adapter, layer.a), b: storedFactor(adapter, layer.b) }));
}
