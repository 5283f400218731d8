import type { AttentionGradient } from "../../device/families/attention.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel } from "../parameters.ts";
import { WHOLE_HEAD } from "./attention.ts";
import { ATTENDED, attended } from "./attended.ts";

/** What is not wanted is 0. */
export const STATS = cpuKernel("attentionStats", {
  ...ATTENDED,
  /** Rows of keys and values. */
  positions: "u32",
  dy: "matrix",
  dlse: "matrix",
  /** Rows of `statsPitch` bytes, a token every 4: first keys, last keys, and of each head lse and dy · y − dlse. */
  stats: "target",
  dq: "target",
  dkeys: "target",
  dvalues: "target",
  /** Rows that a piece owns, and of the others in a chunk: 256, or fewer where heads are large. */
  pieceRows: "u32",
  chunk: "u32",
});

export const QUERIES = { ...STATS, name: "attentionQueries" } as const;
export const KEYS = { ...STATS, name: "attentionKeys" } as const;

/** Rows that a piece owns: whole panels. */
const PIECE = 64;
/** Elements of heads whose chunks are of 256 rows; those of larger ones are half as long, of the largest a quarter. */
const SMALL_HEAD = 128;

/** Rows of the others in a chunk. */
export function chunkRows(head: number): number {
  return head <= SMALL_HEAD ? 256 : head > WHOLE_HEAD ? 64 : 128;
}

/** Pieces that own queries and go over the keys, and pieces that own keys and go over the queries of all heads of a group. */
export function attentionGradient(on: Dispatcher, operands: AttentionGradient): void {
  const { keys, headSize, dy, dlse, into } = operands;
  const shared = attended(operands);
  const { tokens, heads, kvHeads } = shared;
  const stats = takeScratch(on, "attention.stats", [2 + 2 * heads, tokens]);
  const parameters = {
    ...shared,
    positions: keys.shape[0],
    dy,
    dlse,
    stats,
    dq: into.q,
    dkeys: into.keys,
    dvalues: into.values,
    pieceRows: PIECE,
    chunk: chunkRows(headSize),
  };
  const pieces = Math.ceil(tokens / PIECE);
  on.dispatch(STATS, parameters, pieces);
  if (into.q !== undefined) on.dispatch(on.chosen(QUERIES), parameters, pieces * heads);
  if (into.keys !== undefined || into.values !== undefined) {
    on.dispatch(on.chosen(KEYS), parameters, Math.ceil(keys.shape[0] / PIECE) * kvHeads);
  }
  giveScratch(on, stats);
}
