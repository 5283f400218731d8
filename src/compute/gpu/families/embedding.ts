import type { Embedding, EmbeddingGradient } from "../../device/families/tokens.ts";
import { storedDtype } from "../../device/weight.ts";
import { EMBEDDING_BACKWARD_KERNELS, embeddingKernel } from "../kernels/embedding.ts";
import { rowBlocks, scalesOf } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";

export function embedding(on: Dispatcher, { ids, table, scale, y }: Embedding): void {
  const [rows, cols] = y.shape;
  const width = Math.ceil(cols / 4);
  for (const block of rowBlocks(on, table)) {
    const scales = scalesOf(on, table, block);
    on.dispatch(
      embeddingKernel(storedDtype("embedding", table)),
      {
        rows,
        width,
        first: block.first,
        count: block.rows,
        table: block,
        idsAt: ids.offset,
        y,
        scale,
        scalesAt: scales.at,
      },
      [block, ids, y, ...scales.bindings],
      [Math.ceil(width / 64), rows],
    );
  }
}

export function embeddingGradient(on: Dispatcher, { ids, dy, scale, dtable }: EmbeddingGradient): void {
  const [tokens, cols] = dy.shape;
  const width = Math.ceil(cols / 4);
  const links = takeScratch(on, "embedding.links", [1, 2 * tokens], "U32");
  const kernels = EMBEDDING_BACKWARD_KERNELS;
  rowBlocks(on, dtable).forEach((block, index) => {
    const parameters = {
      tokens,
      width,
      first: block.first,
      count: block.rows,
      table: block,
      idsAt: ids.offset,
      dy,
      scale,
    };
    if (index === 0) on.dispatch(kernels.link, parameters, [ids, links], [Math.ceil(tokens / 64)]);
    const buffers = [ids, links, dy, block];
    on.dispatch(kernels.sum, parameters, buffers, [Math.ceil(width / 64), tokens]);
  });
  giveScratch(on, links);
}
