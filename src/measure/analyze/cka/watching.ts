import type { Linears } from "../../../models/blocks/linears.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";

/**
 * Computes what `linears` do, and shows what some of the weights give, before that joins a residual stream.
 * @param outputs whole matrices, as projections have them
 * @param show told the product with matrix number `at` of them, with its bias; it records what it wants of it, and releases
 *   nothing
 */
export function watching(linears: Linears, outputs: readonly Tensor[], show: (y: Tensor, at: number) => void): Linears {
  const places = new Map(outputs.map(({ buffer }, at) => [buffer, at]));
  return {
    applyGrouped: linears.applyGrouped,
    apply(recorder, projection) {
      const at = places.get(projection.weight.buffer);
      if (at === undefined) return linears.apply(recorder, projection);
      const { residual } = projection;
      const y = linears.apply(recorder, { ...projection, residual: undefined });
      show(y, at);
      if (residual === undefined) return y;
      const { y: sum } = recorder.apply(OPS.add, { a: residual, b: y }, {});
      recorder.release(y);
      return sum;
    },
  };
}
