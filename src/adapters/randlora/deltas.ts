import { bilinearDeltas } from "../delta/scaled-bases/deltas.ts";
import type { AdapterPlan } from "../plan.ts";
import { withMagnitudes } from "../delta/magnitude/plan.ts";
import { MAGNITUDE, readParameters } from "./layers.ts";
import { loadBases } from "./load-bases.ts";
import type { RandloraPlan } from "./plan.ts";
import { rankRDeltas } from "./rank-r/deltas.ts";
import { isRankR } from "./rank-r/stacked.ts";
import { randloraShape } from "./shape.ts";

/** A RandLoRA adapter among those of other methods. */
export function randloraAdapterPlan(plan: RandloraPlan): AdapterPlan {
  const { adapter, config, layers, replacements, notes, bases, extent, pairing, scale } = plan;
  const { r, half } = config;
  const plain: AdapterPlan = {
    adapter,
    layers,
    replacements,
    notes,
    bases: bases.kind === "drawn" ? bases.spec.generator : "saved",
    // PEFT's randlora/layer.py, merge: ΔW is cast to the weight's dtype.
    roundsDelta: true,
    async load(signal) {
      const loaded = await loadBases(adapter, bases, r, extent, { signal });
      if (isRankR(adapter)) return rankRDeltas(plan, loaded);
      return bilinearDeltas(
        loaded,
        pairing,
        layers.map((layer) => {
          const { out, in: input, conv1d } = layer;
          return {
            shape: randloraShape(out, input, r, half),
            conv1d,
            scale,
            read: () => readParameters(adapter, layer),
          };
        }),
      );
    },
  };
  return plan.config.dora ? withMagnitudes(plain, MAGNITUDE) : plain;
}
