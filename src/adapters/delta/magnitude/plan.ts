import type { AdapterPlan } from "../../plan.ts";
import { readValues } from "../../files/values.ts";
import { magnitudeDeltas } from "./deltas.ts";
import { findMagnitudes, type MagnitudeName } from "./vectors.ts";

/**
 * An adapter whose rows are rescaled to magnitudes of their own (DoRA; Liu et al., arXiv:2402.09353, equation 5):
 * W' = m / ‖W + ΔW‖ · (W + ΔW), the norms of rows (out, in) of the unmerged base.
 * @param inner the same adapter without them
 * @throws RandloraError `format`, `adapter` where the magnitudes do not fit the layers
 */
export function withMagnitudes(inner: AdapterPlan, name: MagnitudeName): AdapterPlan {
  const { adapter, layers } = inner;
  const vectors = findMagnitudes(adapter, layers, name);
  const modules = layers.map(({ out, conv1d }, index) => ({ out, conv1d, magnitude: () => magnitudeOf(index) }));
  const magnitudeOf = (index: number) => {
    const tensor = vectors[index];
    if (tensor === undefined) throw new RangeError(`layer ${index} of ${vectors.length}`);
    return readValues(adapter, tensor);
  };
  return {
    ...inner,
    rescales: true,
    // PEFT's lora/variants.py, merge_unsafe: c · (W + ΔW) in f32, rounded once.
    roundsDelta: false,
    load: async (signal) => magnitudeDeltas(await inner.load(signal), modules),
  };
}
