import { itemAt } from "../../files/item-at.ts";
import type { AdapterPlan, DeltasOnGpu, DeltaSource, LayerDelta } from "../method/plan.ts";
import type { Adapter } from "../files/adapter.ts";
import { deltaSource } from "./on-device.ts";

/** Of each layer of a sum: its number in each of the parts, -1 where a part has no such. */
type Indices = readonly (readonly number[])[];

/**
 * One adapter whose ΔW is the sum of those of its parts, which were fitted to the same base. The parts' ΔW form one after
 * the other in the same f32 target. PEFT has no such adapters, hence no rounding of theirs that could be followed.
 */
export function sumOfPlans(adapter: Adapter, parts: readonly AdapterPlan[]): AdapterPlan {
  const byModule = new Map(parts.flatMap(({ layers }) => layers.map((layer) => [layer.module, layer])));
  const layers = [...byModule.values()];
  const indices = layers.map(({ module }) =>
    parts.map((part) => part.layers.findIndex((one) => one.module === module)),
  );
  return {
    adapter,
    layers,
    replacements: parts.flatMap(({ replacements }) => replacements),
    notes: parts.flatMap(({ notes }) => notes),
    bases: parts.find(({ bases }) => bases !== "none")?.bases ?? "none",
    roundsDelta: false,
    async load(signal) {
      const sources: DeltaSource[] = [];
      for (const part of parts) sources.push(await part.load(signal));
      return sumOfSources(sources, indices);
    },
  };
}

function sumOfSources(sources: readonly DeltaSource[], layers: Indices): DeltaSource {
  return deltaSource(layers, {
    async share(gpu, staging) {
      const parts: DeltasOnGpu[] = [];
      for (const source of sources) parts.push(await source.upload(gpu, staging));
      return parts;
    },
    async place(indices, parts, { owner, factor, weight }) {
      const deltas: LayerDelta[] = [];
      for (const [part, index] of partsOf(parts, indices)) {
        const delta = await part.layer(index, factor, weight);
        owner.defer(() => delta.release());
        deltas.push(delta);
      }
      return (run, block) => {
        for (const [at, { form }] of deltas.entries()) form(run, at === 0 ? block : { ...block, accumulate: true });
      };
    },
    async reference(indices, { factor, sample, weight }) {
      const sum = new Float64Array(sample.rows.length * sample.cols.length);
      for (const [source, index] of partsOf(sources, indices)) {
        const delta = await source.reference(index, factor, sample, weight);
        delta.forEach((value, at) => (sum[at] = itemAt(sum, at) + value));
      }
      return sum;
    },
  });
}

/** Those that have the layer, with its number there. */
function partsOf<T>(parts: readonly T[], indices: readonly number[]): (readonly [T, number])[] {
  return parts.flatMap((part, at) => {
    const index = indices[at] ?? -1;
    return index < 0 ? [] : [[part, index] as const];
  });
}
