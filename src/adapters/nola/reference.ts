import type { DeltaSample } from "../delta/sample.ts";
import { itemAt } from "../../files/item-at.ts";
import { readAllValues } from "../files/values.ts";
import { basesScale, fillElements, initialFactor, U_STREAM, V_STREAM } from "./draws.ts";
import type { NolaPlan } from "./plan.ts";

/** factor · ΔW (out, in) of a layer in f64 at a sample of its elements, each factor by its definition. */
export async function nolaReference(
  { adapter, draws, layers, scale }: NolaPlan,
  index: number,
  factor: number,
  { rows, cols }: DeltaSample,
): Promise<Float64Array> {
  const layer = layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${layers.length}`);
  const { rank, bases, maxIn, maxOut } = draws;
  const initial = initialFactor(draws, layer.module, layer.in);
  const { a: c, b: d } = await readAllValues(adapter, layer.tensors);
  const elements = new Float64Array(bases);
  /** Σ cᵢUᵢ/√k at row k of the factor. */
  const sum = (coefficients: Float32Array, stream: typeof U_STREAM | typeof V_STREAM, k: number, at: number) => {
    const most = stream === U_STREAM ? maxIn : maxOut;
    fillElements(draws, stream, elements, k * most + at, rank * most);
    return basesScale(draws) * elements.reduce((total, element, i) => total + element * itemAt(coefficients, i), 0);
  };
  const ranks = Array.from({ length: rank }, (_, k) => k);
  const a = cols.map((col) => ranks.map((k) => itemAt(initial, k * layer.in + col) + sum(c, U_STREAM, k, col)));
  const b = rows.map((row) => ranks.map((k) => sum(d, V_STREAM, k, row)));
  return Float64Array.from({ length: rows.length * cols.length }, (_, at) => {
    const [left, right] = [itemAt(b, Math.floor(at / cols.length)), itemAt(a, at % cols.length)];
    return scale * factor * ranks.reduce((total, k) => total + itemAt(left, k) * itemAt(right, k), 0);
  });
}
