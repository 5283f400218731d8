import { bilinearDeltas } from "../delta/scaled-bases/deltas.ts";
import type { AdapterPlan } from "../plan.ts";
import { withMagnitudes } from "../delta/magnitude/plan.ts";
import { readAllValues } from "../files/values.ts";
import { loadFrozen } from "../frozen/origin.ts";
import { RANDLORA_BASES } from "./bases.ts";
import { MAGNITUDE, type RandloraPlan } from "./plan.ts";
import { rankRDeltas } from "./rank-r/deltas.ts";
import { isRankR } from "./rank-r/stacked.ts";

/** A RandLoRA adapter among those of other methods. */
export function randloraAdapterPlan(plan: RandloraPlan): AdapterPlan {
  const { adapter, config, layers, replacements, notes, bases, extent, pairing, scale } = plan;
  const plain: AdapterPlan = {
    adapter,
    layers,
    replacements,
    notes,
    bases: bases.kind === "drawn" ? bases.drawn.generator : "saved",
    // PEFT's randlora/layer.py, merge: ΔW is cast to the weight's dtype.
    roundsDelta: true,
    async load(signal) {
      const loaded = await loadFrozen(RANDLORA_BASES, adapter.file, bases, config, extent, { signal });
      if (isRankR(adapter)) return rankRDeltas(plan, loaded);
      return bilinearDeltas(
        loaded,
        pairing,
        layers.map(({ sizes: shape, conv1d, tensors }) => {
          return { shape, conv1d, scale, read: () => readAllValues(adapter, tensors) };
        }),
      );
    },
  };
  return config.dora ? withMagnitudes(plain, MAGNITUDE) : plain;
}
