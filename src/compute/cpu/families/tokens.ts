import type { Embedding, EmbeddingGradient, Rows } from "../../device/families/tokens.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";

/** y[t] = table[ids[t]] · scale. */
export const EMBEDDING = cpuKernel("embedding", {
  rows: "u32",
  width: "u32",
  vocabulary: "u32",
  ids: "row",
  table: "stored",
  y: "target",
  scale: "f32",
  pieceRows: "u32",
});

/** dtable[id] += scale · Σ dy[t] over the positions t of each id. */
export const EMBEDDING_LINKS = cpuKernel("embeddingLinks", {
  tokens: "u32",
  width: "u32",
  vocabulary: "u32",
  ids: "row",
  dy: "matrix",
  dtable: "target",
  /** By id that occurs, its first position (vocabulary); by position, the next one of the same id (tokens). */
  heads: "targetRow",
  links: "targetRow",
  scale: "f32",
  pieceTokens: "u32",
});

export const EMBEDDING_SUMS = { ...EMBEDDING_LINKS, name: "embeddingSums" } as const;

/** y[i] = x[indices[i]], or y[indices[i]] = x[i]. */
export const ROWS = cpuKernel("rows", {
  count: "u32",
  /** Rows of the one that is indexed. */
  rows: "u32",
  width: "u32",
  scatter: "flag",
  indices: "row",
  x: "matrix",
  y: "target",
  pieceRows: "u32",
});

export function embedding(on: Dispatcher, { ids, table, scale, y }: Embedding): void {
  const [rows, cols] = y.shape;
  const { pieceRows, count } = rowPieces(rows, cols);
  on.dispatch(
    EMBEDDING,
    { rows, width: Math.ceil(cols / 4), vocabulary: table.shape[0], ids, table, y, scale, pieceRows },
    count,
  );
}

export function embeddingGradient(on: Dispatcher, { ids, dy, scale, dtable }: EmbeddingGradient): void {
  const [tokens, cols] = dy.shape;
  const [vocabulary] = dtable.shape;
  const heads = takeScratch(on, "embedding.heads", [1, vocabulary], "U32");
  const links = takeScratch(on, "embedding.links", [1, tokens], "U32");
  const { pieceRows, count } = rowPieces(tokens, cols);
  const operands = {
    tokens,
    width: Math.ceil(cols / 4),
    vocabulary,
    ids,
    dy,
    dtable,
    heads,
    links,
    scale,
    pieceTokens: pieceRows,
  };
  on.dispatch(EMBEDDING_LINKS, operands, 1);
  on.dispatch(EMBEDDING_SUMS, operands, count);
  giveScratch(on, heads, links);
}

export function rows(on: Dispatcher, { scatter, x, indices, y }: Rows): void {
  const [, cols] = x.shape;
  const [, taken] = indices.shape;
  const { pieceRows, count } = rowPieces(taken, cols);
  on.dispatch(
    ROWS,
    { count: taken, rows: (scatter ? y : x).shape[0], width: Math.ceil(cols / 4), scatter, indices, x, y, pieceRows },
    count,
  );
}
