import { ELEMENTWISE } from "../../compute/device/families/elementwise.ts";
import { recordElementwise } from "../../compute/tensor/elementwise.ts";
import { sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import type { AdapterLinears, JointAdapter, Linears, RowsOf } from "./linears.ts";

export type AdaptedRows = RowsOf<AdapterLinears>;

/**
 * No adapter, of rows that may stand beside those of others: they have then no command that normalizes and multiplies in one, whose
 * rounding is another on some devices.
 */
export const BASE_ROWS: AdapterLinears = (base) => base;

/** Adapters of which a pass has rows lie together where these are the same. */
export function groupOf(adapter: AdapterLinears): object {
  return adapter.joint?.group ?? adapter;
}

/**
 * Projections of which some rows go through adapters: the weights are multiplied with once for all rows, and each adapter adds what it
 * makes of its own, those of a group together. So a row has the bits that it has in a pass of its own.
 */
export function rowLinears(base: Linears, adapted: readonly AdaptedRows[]): Linears {
  if (adapted.length === 0) return base;
  const joint = Map.groupBy(adapted.flatMap(jointRows), ({ adapter }) => adapter.group);
  const alone = adapted.filter(({ adapter }) => adapter.joint === undefined);
  return {
    apply(recorder, projection) {
      const { x, residual } = projection;
      const y = base.apply(recorder, projection);
      for (const rows of joint.values()) rows[0]?.adapter.over({ apply: () => y }, rows).apply(recorder, projection);
      for (const { adapter, first, count } of alone) {
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

function jointRows({ adapter: { joint }, first, count }: AdaptedRows): readonly RowsOf<JointAdapter>[] {
  return joint === undefined ? [] : [{ adapter: joint, first, count }];
}
