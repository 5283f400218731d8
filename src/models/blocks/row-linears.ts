import { ELEMENTWISE } from "../../compute/device/families/elementwise.ts";
import { recordElementwise } from "../../compute/tensor/elementwise.ts";
import { sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import type { AdapterLinears, Linears } from "./linears.ts";

/** Consecutive rows of a pass that go through one adapter. */
export interface AdaptedRows {
  readonly adapter: AdapterLinears;
  readonly first: number;
  readonly count: number;
}

/**
 * No adapter, of rows that may stand beside those of others: they have then no command that normalizes and multiplies in one, whose
 * rounding is another on some devices.
 */
export const BASE_ROWS: AdapterLinears = (base) => base;

/**
 * Projections of which some rows go through adapters: the weights are multiplied with once for all rows, and each adapter adds what it
 * makes of its own. So a row has the bits that it has in a pass of its own.
 */
export function rowLinears(base: Linears, adapted: readonly AdaptedRows[]): Linears {
  if (adapted.length === 0) return base;
  return {
    apply(recorder, projection) {
      const { x, residual } = projection;
      const y = base.apply(recorder, projection);
      for (const { adapter, first, count } of adapted) {
        const part = (tensor: Tensor): Tensor => sliceRows(tensor, first, count);
        const own = part(y);
        const some = { ...projection, x: part(x), residual: residual && part(residual) };
        const result = adapter({ apply: () => own }).apply(recorder, some);
        if (result.buffer === y.buffer) continue;
        recordElementwise(recorder.run, ELEMENTWISE.copy, result, undefined, own);
        recorder.release(result);
      }
      return y;
    },
  };
}
