import type { Run } from "../../compute/tensor/run.ts";
import { sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import { recordCopy } from "../../compute/tensor/elementwise.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import {
  type AdapterLinears,
  type GroupedProjection,
  type JointAdapter,
  type Linears,
  PLAIN_LINEARS,
  projectGroups,
  type RowsOf,
} from "./linears.ts";

// Pairs of a token and one of its experts, in an order that follows from their number alone: token by token where (tokens, chosen)
// lie without gaps, else a column of them behind the other.

/** Records the rows of `x` at these places (tokens, chosen), pair by pair: (tokens · chosen, cols). */
export function takePairs(run: Run, x: Tensor, places: Tensor): Tensor {
  const y = run.allocate("rows of pairs", [places.shape[0] * places.shape[1], x.shape[1]]);
  for (const { first, places: own } of inLine(places)) {
    const to = sliceRows(y, first, own.shape[0]);
    run.compute("mixRows", { x, places: own, factors: undefined, residual: undefined, scale: 1, y: to });
  }
  return y;
}

/** Records rows of pairs into the rows of `y` at these places; the others stay as they are. */
export function putPairs(run: Run, x: Tensor, places: Tensor, y: Tensor): void {
  for (const { first, places: own } of inLine(places)) {
    const from = sliceRows(x, first, own.shape[0]);
    run.compute("spreadRows", { x: from, places: own, factors: undefined, scale: 1, y });
  }
}

/** Places as columns of one place each, and the pair that each column begins with. */
function inLine(places: Tensor): { readonly first: number; readonly places: Tensor }[] {
  const [tokens, chosen] = places.shape;
  if (places.pitch === chosen) return [{ first: 0, places: { ...places, shape: [tokens * chosen, 1], pitch: 1 } }];
  return Array.from({ length: chosen }, (_, at) => {
    return { first: at * tokens, places: { ...places, shape: [tokens, 1], offset: places.offset + at } };
  });
}

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
  const ofExperts = adapted.filter(({ adapter }) => adapter.adaptsExperts);
  return {
    applyGrouped(recorder, projection) {
      const y = projectGroups(recorder, base, projection);
      const tokens = projection.ids.shape[0];
      const [only] = ofExperts;
      if (only?.count === tokens) return adaptAll(recorder, only.adapter, projection, y);
      for (const rows of ofExperts) adaptGroups(recorder, rows, projection, y);
      return y;
    },
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
        recordCopy(recorder.run, result, own);
        recorder.release(result);
      }
      return y;
    },
  };
}

function jointRows({ adapter: { joint }, first, count }: AdaptedRows): readonly RowsOf<JointAdapter>[] {
  return joint === undefined ? [] : [{ adapter: joint, first, count }];
}

/** Records what an adapter makes of all rows of experts' products, of which `y` has what the weights give, and is released where it is another. */
function adaptAll(recorder: Recorder, adapter: AdapterLinears, projection: GroupedProjection, y: Tensor): Tensor {
  const linears = adapter({ apply: PLAIN_LINEARS.apply, applyGrouped: () => y });
  const result = projectGroups(recorder, linears, projection);
  if (result !== y) recorder.release(y);
  return result;
}

/** The same of the rows of its own tokens, which stand by expert among those of others, into `y`. */
function adaptGroups(
  recorder: Recorder,
  { adapter, first, count }: AdaptedRows,
  { ids, places, x, begins, ...projection }: GroupedProjection,
  y: Tensor,
): void {
  const { run } = recorder;
  const own = { ids: sliceRows(ids, first, count), places: sliceRows(places, first, count) };
  const ordered = recorder.apply(OPS.expertRows, { experts: own.ids }, { experts: begins.shape[1] - 1 });
  const take = (all: Tensor): Tensor => {
    const rows = takePairs(run, all, own.places);
    const byExpert = run.allocate("rows of an adapter", rows.shape);
    putPairs(run, rows, ordered.places, byExpert);
    run.release(rows);
    return byExpert;
  };
  const input = take(x);
  const result = adaptAll(recorder, adapter, { ...projection, ...ordered, ids: own.ids, x: input }, take(y));
  const rows = takePairs(run, result, ordered.places);
  putPairs(run, rows, own.places, y);
  run.release(input, result, rows, ordered.places, ordered.begins);
}
