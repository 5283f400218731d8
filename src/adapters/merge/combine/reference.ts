import { itemAt } from "../../../files/item-at.ts";
import type { DeltaSample } from "../../method/sample.ts";
import { combined } from "./formula.ts";
import { electsSign, isRandom } from "./names.ts";
import { type CombinedLayer, type CombineOptions, keepOf } from "./rows.ts";
import type { Threshold } from "./threshold.ts";

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
