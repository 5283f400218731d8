import type { Device } from "../compute/device/device.ts";
import { itemAt } from "../files/item-at.ts";
import type { AdapterPlan, DeltasOnGpu, DeltaSource, LayerDelta } from "./plan.ts";
import type { Adapter } from "./adapter.ts";

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

function sumOfSources(sources: readonly DeltaSource[], indices: Indices): DeltaSource {
  return {
    upload: async (gpu) => sumOnGpu(await uploadAll(gpu, sources), indices),
    async reference(layer, factor, sample, weight) {
      const sum = new Float64Array(sample.rows.length * sample.cols.length);
      for (const [source, index] of partsOf(sources, indices, layer)) {
        const delta = await source.reference(index, factor, sample, weight);
        delta.forEach((value, at) => (sum[at] = itemAt(sum, at) + value));
      }
      return sum;
    },
  };
}

async function uploadAll(gpu: Device, sources: readonly DeltaSource[]): Promise<DeltasOnGpu[]> {
  const parts: DeltasOnGpu[] = [];
  for (const source of sources) parts.push(await source.upload(gpu));
  return parts;
}

function sumOnGpu(parts: readonly DeltasOnGpu[], indices: Indices): DeltasOnGpu {
  return {
    async layer(layer, factor, weight): Promise<LayerDelta> {
      const deltas = await releasingAll(partsOf(parts, indices, layer), ([part, index]) =>
        part.layer(index, factor, weight),
      );
      return {
        form(run, block) {
          for (const [at, delta] of deltas.entries()) {
            delta.form(run, at === 0 ? block : { ...block, accumulate: true });
          }
        },
        release: () => deltas.forEach((delta) => delta.release()),
      };
    },
  };
}

/** Those that have the layer, with its number there. */
function partsOf<T>(parts: readonly T[], indices: Indices, layer: number): (readonly [T, number])[] {
  return parts.flatMap((part, at) => {
    const index = indices[layer]?.[at] ?? -1;
    return index < 0 ? [] : [[part, index] as const];
  });
}

/** Makes one thing after the other; where one fails, those before it are released. */
async function releasingAll<T, U extends { release(): void }>(
  from: readonly T[],
  make: (one: T) => Promise<U>,
): Promise<U[]> {
  const made: U[] = [];
  try {
    for (const one of from) made.push(await make(one));
    return made;
  } catch (thrown) {
    for (const one of made) one.release();
    throw thrown;
  }
}
