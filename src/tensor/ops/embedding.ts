import { embeddingKernel } from "../../kernels/embedding.ts";
import { f32, uniform } from "../../kernels/parameters.ts";
import { at, defineOp, matrixOf, requireShapes } from "../op.ts";
import { rowBlocks, whole } from "../run.ts";
import { weightDtype } from "../weight.ts";

/**
 * y[t] = table[ids[t]] · scale: ids (1, tokens) U32, table (vocabulary, cols) in any stored dtype. Ids must be below the
 * vocabulary; rows of others are left undefined.
 */
export const embedding = defineOp({ inputs: { ids: "needed", table: "needed" }, outputs: { y: "needed" } })<{
  readonly scale: number;
}>({
  name: "embedding",
  shape({ ids, table }) {
    requireShapes("embedding", { ids, table }, ids[0] === 1, "the ids must be one row");
    return { y: { shape: [ids[1], table[1]] } };
  },
  forward(run, { ids, table }, { scale }, { y }) {
    const [rows, cols] = y.shape;
    const width = Math.ceil(cols / 4);
    for (const block of rowBlocks(run, table)) {
      run.dispatch(
        embeddingKernel(weightDtype("embedding", table)),
        uniform(
          rows,
          width,
          block.first,
          block.rows,
          block.offset / 4,
          table.pitch / 4,
          ids.offset,
          y.offset / 4,
          y.pitch / 4,
          f32(scale),
        ),
        [block.binding, whole(run, ids), whole(run, y)],
        [Math.ceil(width / 64), rows],
      );
    }
  },
  reference({ ids, table }, { scale }) {
    return { y: matrixOf(ids.shape[1], table.shape[1], (row, col) => scale * at(table, at(ids, 0, row), col)) };
  },
});
