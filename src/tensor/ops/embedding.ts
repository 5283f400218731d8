import {
  EMBEDDING_BACKWARD_KERNELS,
  embeddingBackwardParameters,
  embeddingKernel,
  embeddingParameters,
} from "../../kernels/embedding.ts";
import { at, defineOp, matrixOf, requireShapes, zeros } from "../op.ts";
import { type Run } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import { weightDtype } from "../weight.ts";
import { place, rowBlocks, whole } from "../row-blocks.ts";

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
        embeddingParameters({
          rows,
          width,
          first: block.first,
          count: block.rows,
          table: [block.offset / 4, table.pitch / 4],
          idsAt: ids.offset,
          y: place(y),
          scale,
        }),
        [block.binding, whole(run, ids), whole(run, y)],
        [Math.ceil(width / 64), rows],
      );
    }
  },
  reference({ ids, table }, { scale }) {
    return { y: matrixOf(ids.shape[1], table.shape[1], (row, col) => scale * at(table, at(ids, 0, row), col)) };
  },
  derivative: {
    saves: () => ["ids"],
    adds: ["table"],
    backward(run, { inputs: { ids }, gradients: { y: dy }, into: { table } }, { scale }) {
      if (table !== undefined && dy !== undefined) recordSums(run, ids, dy, scale, table);
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

/** dtable[id] += scale · Σ dy[t] over the positions t of each id that occurs; the other rows are left as they are. */
function recordSums(run: Run, ids: Tensor, dy: Tensor, scale: number, dtable: Tensor): void {
  const [tokens, cols] = dy.shape;
  const width = Math.ceil(cols / 4);
  const links = run.allocate("embedding.links", [1, 2 * tokens], "U32");
  const kernels = EMBEDDING_BACKWARD_KERNELS;
  rowBlocks(run, dtable).forEach((block, index) => {
    const parameters = embeddingBackwardParameters({
      tokens,
      width,
      first: block.first,
      count: block.rows,
      table: [block.offset / 4, dtable.pitch / 4],
      idsAt: ids.offset,
      dy: place(dy),
      scale,
    });
    const [idsBinding, linksBinding] = [whole(run, ids), whole(run, links)];
    if (index === 0) run.dispatch(kernels.link, parameters, [idsBinding, linksBinding], [Math.ceil(tokens / 64)]);
    const buffers = [idsBinding, linksBinding, whole(run, dy), block.binding];
    run.dispatch(kernels.sum, parameters, buffers, [Math.ceil(width / 64), tokens]);
  });
  run.release(links);
}
