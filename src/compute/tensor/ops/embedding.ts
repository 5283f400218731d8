import { at, defineOp, matrixOf, requireShapes, zeros } from "../op.ts";

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
    run.compute("embedding", { ids, table, scale, y });
  },
  reference({ ids, table }, { scale }) {
    return { y: matrixOf(ids.shape[1], table.shape[1], (row, col) => scale * at(table, at(ids, 0, row), col)) };
  },
  derivative: {
    saves: () => ["ids"],
    adds: ["table"],
    backward(run, { inputs: { ids }, gradients: { y: dy }, into: { table } }, { scale }) {
      if (table !== undefined && dy !== undefined) run.compute("embeddingGradient", { ids, dy, scale, dtable: table });
    },
    gradient({ ids, table }, { scale }, { y }) {
      const dtable = zeros(...table.shape);
      const cols = table.shape[1];
      y.data.forEach((value, index) => {
        const to = at(ids, 0, Math.floor(index / cols)) * cols + (index % cols);
        dtable.data[to] = (dtable.data[to] ?? NaN) + scale * value;
      });
      return { table: dtable };
    },
  },
});
