import { OPS } from "../../../compute/tensor/ops/index.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { asWords, type Tensor } from "../../../compute/tensor/tensor.ts";
import { type LayerCache, matricesOf, positionsOfRow } from "../../blocks/sight.ts";

/** Rows that one command copies at most. */
export const COPIED_AT_ONCE = 16_384;

/** A row of matrices that is copied to another one of them. */
type Copied = readonly [from: number, to: number];

/** Rows that are copied in matrices of these layers. */
export type LayerCopies = readonly [layers: readonly LayerCache[], rows: readonly Copied[]];

/**
 * Copies rows within matrices; one's are all read before any is written.
 * @throws RandloraError `memory`; some may have been copied
 */
export async function copyRows(run: Run, copies: readonly LayerCopies[]): Promise<void> {
  try {
    for (const [layers, copied] of copies) {
      if (copied.length === 0) continue;
      for (const [unit, matrices] of Map.groupBy(layers, positionsOfRow)) {
        const rows = unit === 1 ? copied : blocksOf(copied, unit);
        const upload = (label: string, end: 0 | 1): Tensor =>
          run.upload(
            label,
            [1, rows.length],
            Uint32Array.from(rows, (row) => row[end]),
          );
        const [from, to] = [upload("from", 0), upload("to", 1)];
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
