import { itemAt } from "../../../files/item-at.ts";
import type { AppliedAdapter } from "../merge-tensor.ts";
import { type CombineWish, electsSign, isRandom, type MergeFlags, type MergeOptions } from "../to-files/options.ts";
import type { AdapterPlan, DeltaSample, DeltaSource } from "../../method/plan.ts";
import { combined, type CombinedLayer, type CombineOptions, combineRows, keepOf, type Threshold } from "./rows.ts";
import { Contradiction, RandloraError } from "../../../files/errors.ts";
import { oneLine } from "../../../files/failure.ts";
import type { AdaptedLayer } from "../../base/targets.ts";
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

/** What `randlora merge` is told of it. */
export type CombineFlags = Pick<MergeFlags, "combine" | "density" | "majoritySign" | "seed">;

/** @throws RandloraError `usage` where an option is missing, or has no meaning for the combination */
export function combineWish({ combine, density, majoritySign, seed }: CombineFlags): CombineWish {
  const how = combine === "dare" ? "dare-linear" : combine;
  if (how !== "sum" && density.length === 0) {
    const hint = "give the part of each ΔW to keep: --density 0.2, once for all or once for each ADAPTER";
    throw new RandloraError("usage", `--combine ${combine} needs --density`, hint);
  }
  const idle = [
    how === "sum" && density.length > 0 ? "density" : undefined,
    !electsSign(how) && majoritySign !== undefined ? "majoritySign" : undefined,
    !isRandom(how) && seed !== undefined ? "seed" : undefined,
  ].find((option) => option !== undefined);
  if (idle !== undefined) {
    const name = idle === "majoritySign" ? "majority-sign" : idle;
    const hint = "leave it out, or choose another --combine";
    throw new Contradiction([idle, "combine"], `--${name} has no meaning for --combine ${combine}`, hint);
  }
  return { how, densities: density, majoritySign, seed };
}

/**
 * Adapters as they are merged, with a factor for each.
 * @param weights of their ΔW, in their order
 * @throws RandloraError `usage` for a wish that makes no sense, and as `combinePlans`
 */
export function combining(
  plans: readonly AdapterPlan[],
  weights: readonly number[],
  { combine, adapters }: Pick<MergeOptions, "combine" | "adapters">,
): readonly AppliedAdapter[] {
  if (combine === undefined || combine.how === "sum") {
    return plans.map((plan, index) => ({ plan, factor: itemAt(weights, index) }));
  }
  const { how, densities, majoritySign = "total", seed = 0 } = combine;
  const parts = onePerAdapter("density", densities, adapters, 1);
  const options = { combination: how, majoritySign, weights, densities: parts, seed };
  return combinePlans(plans, options).map((plan) => ({ plan, factor: 1 }));
}

/**
 * Values of an option that is given once for all, or once for each adapter.
 * @throws RandloraError `usage` for another number of them
 */
export function onePerAdapter(
  option: string,
  values: readonly number[],
  adapters: readonly string[],
  absent: number,
): number[] {
  if (values.length > 1 && values.length !== adapters.length) {
    const counts = `${values.length} times for ${adapters.length} adapters`;
    throw new RandloraError("usage", `--${option} is given ${counts}`, "give it once, or once for each adapter");
  }
  return adapters.map((_, index) => values[index] ?? values[0] ?? absent);
}
