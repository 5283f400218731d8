import type { DeltaSample } from "../delta/sample.ts";
import { itemAt } from "../../files/item-at.ts";
import type { ThetaLayer } from "../../compute/device/families/theta.ts";
import { thetaElement, type ThetaKey } from "./stream.ts";

/** scale · Σ_i α_i θ_i of one layer, (out, in), in f64 at a sample of its elements, row-major: the yardstick. Slow. */
export function thetaReference(
  { in: input, offset, scale }: ThetaLayer,
  coefficients: ArrayLike<number>,
  key: ThetaKey,
  { rows, cols }: DeltaSample,
): Float64Array {
  const delta = new Float64Array(rows.length * cols.length);
  for (const [i, row] of rows.entries()) {
    for (const [j, col] of cols.entries()) {
      let sum = 0;
      for (let basis = 0; basis < coefficients.length; basis++) {
        sum += itemAt(coefficients, basis) * thetaElement(key, basis, offset + row * input + col);
      }
      delta[i * cols.length + j] = scale * sum;
    }
  }
  return delta;
}
