import { itemAt } from "../../../files/item-at.ts";
import { electsSign, isRandom } from "./names.ts";
import type { AdapterPlan, DeltaSample, DeltaSource } from "../../method/plan.ts";
import { combined, type CombinedLayer, type CombineOptions, combineRows, keepOf } from "./rows.ts";
import type { Threshold } from "./threshold.ts";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine } from "../../../files/failure.ts";
import type { AdaptedLayer } from "../../base/layers.ts";
import { deltaSource } from "../../delta/on-device.ts";

/** f32 sums are off by up to this part of the largest element. */
const ROUNDING = 2e-6;

/**
 * The combination at a sample of its elements (out, in), from ΔW of each adapter in f64. NaN where rounding decides whether
 * an element is kept, or which sign is elected.
 */
export function referenceOf(
  { layer, parts }: CombinedLayer,
  values: readonly Float64Array[],
  { rows, cols }: DeltaSample,
  thresholds: readonly Threshold[],
  options: CombineOptions,
): Float64Array {
  const keeps = parts.map(({ adapter }, i) => keepOf(options, layer.tensor, adapter, itemAt(thresholds, i)));
  const weights = parts.map(({ adapter }) => itemAt(options.weights, adapter));
  const slack =
    ROUNDING * values.flatMap((one) => [...one]).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const isTrimmed = parts.map(
    ({ adapter }) => itemAt(options.densities, adapter) < 1 && !isRandom(options.combination),
  );
  return Float64Array.from({ length: rows.length * cols.length }, (_, at) => {
    const [row, col] = [itemAt(rows, Math.floor(at / cols.length)), itemAt(cols, at % cols.length)];
    const index = layer.conv1d ? col * layer.out + row : row * layer.in + col;
    const kept = values.map((one, i) => itemAt(one, at) * itemAt(keeps, i)(itemAt(one, at), index));
    const atThreshold = values.some((one, i) => {
      return itemAt(isTrimmed, i) && Math.abs(Math.abs(itemAt(one, at)) - itemAt(thresholds, i).magnitude) <= slack;
    });
    const votes = options.majoritySign === "total" ? [kept.reduce((sum, value) => sum + value, 0), ...kept] : kept;
    const isUndecided = electsSign(options.combination) && votes.some((vote) => vote !== 0 && Math.abs(vote) <= slack);
    return atThreshold || isUndecided ? NaN : combined(options, kept, weights);
  });
}

/**
 * Adapters whose ΔW are combined: the first has those of all, already weighted, the others bring nothing but what they replace.
 * @throws RandloraError `adapter` for one that rescales W, whose ΔW depends on the adapters before it
 */
export function combinePlans(plans: readonly AdapterPlan[], options: CombineOptions): AdapterPlan[] {
  const rescaling = plans.find(({ rescales }) => rescales === true);
  if (rescaling !== undefined) {
    const cause = `its ΔW depends on the weights, and --combine ${options.combination} knows sums alone`;
    const hint = "combine adapters of other methods, or merge them one after the other: --combine sum";
    throw new RandloraError("adapter", `${oneLine(rescaling.adapter.file)}: ${cause}`, hint);
  }
  const layers = combinedLayers(plans);
  return plans.map((plan, at) => ({
    ...plan,
    layers: at === 0 ? layers.map(({ layer }) => layer) : [],
    roundsDelta: false,
    async load(signal) {
      const sources: DeltaSource[] = [];
      if (at > 0) return sourceOf([], sources, options);
      for (const one of plans) sources.push(await one.load(signal));
      return sourceOf(layers, sources, options);
    },
  }));
}

/** Each adapted weight with the adapters that change it, in their order. */
function combinedLayers(plans: readonly AdapterPlan[]): CombinedLayer[] {
  const found = new Map<string, { readonly layer: AdaptedLayer; readonly parts: CombinedLayer["parts"][number][] }>();
  for (const [adapter, { layers }] of plans.entries()) {
    for (const [index, layer] of layers.entries()) {
      const known = found.get(layer.tensor) ?? { layer, parts: [] };
      known.parts.push({ adapter, index });
      found.set(layer.tensor, known);
    }
  }
  return [...found.values()];
}

function sourceOf(
  layers: readonly CombinedLayer[],
  sources: readonly DeltaSource[],
  options: CombineOptions,
): DeltaSource {
  const thresholds = new Map<CombinedLayer, readonly Threshold[]>();
  return deltaSource(layers, {
    share: async (gpu, staging) => {
      const shared = [];
      for (const source of sources) shared.push(await source.upload(gpu, staging));
      return shared;
    },
    async place(layer, shared, { gpu, owner, factor, weight }) {
      const deltas = [];
      for (const { adapter, index } of layer.parts) {
        deltas.push(owner.adopt(await itemAt(shared, adapter).layer(index, factor, weight), (one) => one.release()));
      }
      const { found, rows } = await combineRows(gpu, layer, deltas, weight, options);
      thresholds.set(layer, found);
      return rows;
    },
    async reference(layer, { factor, sample, weight }) {
      const values: Float64Array[] = [];
      for (const { adapter, index } of layer.parts) {
        values.push(await itemAt(sources, adapter).reference(index, factor, sample, weight));
      }
      return referenceOf(layer, values, sample, thresholds.get(layer) ?? [], options);
    },
  });
}
