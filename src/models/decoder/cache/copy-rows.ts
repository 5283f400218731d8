import { OPS } from "../../../compute/tensor/ops/index.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { asWords, type Tensor } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { LayerCache } from "../../blocks/sight.ts";
import { matricesOf, positionsOfRow } from "./layer-cache.ts";

/** Rows that one command copies at most. */
export const COPIED_AT_ONCE = 16_384;

/** A row of a group's matrices that is copied to another one of them. */
type Copied = readonly [from: number, to: number];

/**
 * Copies rows within the matrices of each group of layers; a matrix's are all read before any is written.
 * @param pairs of each group
 * @throws RandloraError `memory`; some may have been copied
 */
export async function copyRows(
  run: Run,
  groups: readonly { readonly layers: readonly LayerCache[] }[],
  pairs: readonly (readonly Copied[])[],
): Promise<void> {
  const upload = (label: string, rows: readonly number[]): Tensor =>
    run.upload(label, [1, rows.length], Uint32Array.from(rows));
  try {
    for (const [group, copied] of pairs.entries()) {
      if (copied.length === 0) continue;
      for (const [unit, matrices] of Map.groupBy(itemAt(groups, group).layers, positionsOfRow)) {
        const rows = unit === 1 ? copied : blocksOf(copied, unit);
        const from = upload(
          "from",
          rows.map(([row]) => row),
        );
        const to = upload(
          "to",
          rows.map(([, row]) => row),
        );
        for (const matrix of matrices.flatMap(matricesOf).map(asWords)) {
          const { y } = run.apply(OPS.rows, { x: matrix, indices: from }, {});
          run.compute("rows", { scatter: true, x: y, indices: to, y: matrix });
          run.release(y);
        }
      }
    }
    await run.submit();
  } catch (thrown) {
    run.discard();
    throw thrown;
  }
}

/** So many rows from each on. */
export function rowsFrom(from: number, to: number, count: number): Copied[] {
  return Array.from({ length: Math.max(0, count) }, (_, row) => [from + row, to + row] as const);
}

/** The blocks that rows are in, each once. */
function blocksOf(rows: readonly Copied[], unit: number): Copied[] {
  const blocks = new Map(rows.map(([from, to]) => [Math.floor(to / unit), Math.floor(from / unit)]));
  return Array.from(blocks, ([to, from]) => [from, to] as const);
}
