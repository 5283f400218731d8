import type { AttentionGradient } from "../../device/families/attention.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { optional, pitchBytes, pointer } from "../operands.ts";
import type { CpuKernel, Members } from "../parameters.ts";
import { ATTENDED, attended } from "./attended.ts";

/** What is not wanted is 0. */
export const STATS = {
  name: "attentionStats",
  members: {
    ...ATTENDED,
    /** Rows of keys and values. */
    positions: "u32",
    dy: "pointer",
    dyPitch: "u32",
    dlse: "pointer",
    dlsePitch: "u32",
    /** Rows of `statsPitch` bytes, a token every 4: first keys, last keys, and of each head lse and dy · y − dlse. */
    stats: "pointer",
    statsPitch: "u32",
    dq: "pointer",
    dqPitch: "u32",
    dkeys: "pointer",
    dkeysPitch: "u32",
    dvalues: "pointer",
    dvaluesPitch: "u32",
    /** Rows that a piece owns, and of the others in a chunk: 256, or 128 where heads are large. */
    pieceRows: "u32",
    chunk: "u32",
  },
} as const satisfies CpuKernel<Members>;

export const QUERIES = { ...STATS, name: "attentionQueries" } as const;
export const KEYS = { ...STATS, name: "attentionKeys" } as const;
const QUERIES_FMA = { ...QUERIES, fma: true } as const;
const KEYS_FMA = { ...KEYS, fma: true } as const;

/** Rows that a piece owns. */
const PIECE = 48;
/** The same of machine code: whole panels. */
const FMA_PIECE = 64;
/** Elements of heads whose chunks are of 256 rows; those of larger ones are half as long. */
const SMALL_HEAD = 128;

/** Pieces that own queries and go over the keys, and pieces that own keys and go over the queries of all heads of a group. */
export function attentionGradient(on: Dispatcher, operands: AttentionGradient): void {
  const { keys, headSize, dy, dlse, into } = operands;
  const shared = attended(operands, "read");
  const { tokens, heads, kvHeads } = shared;
  const fma = on.has(QUERIES_FMA) && on.has(KEYS_FMA);
  const pieceRows = fma ? FMA_PIECE : PIECE;
  const stats = takeScratch(on, "attention.stats", [2 + 2 * heads, tokens]);
  const parameters = {
    ...shared,
    positions: keys.shape[0],
    dy: pointer(dy),
    dyPitch: pitchBytes(dy),
    dlse: optional(dlse),
    dlsePitch: pitchBytes(dlse),
    stats: pointer(stats, "write"),
    statsPitch: pitchBytes(stats),
    dq: optional(into.q, "write"),
    dqPitch: pitchBytes(into.q),
    dkeys: optional(into.keys, "write"),
    dkeysPitch: pitchBytes(into.keys),
    dvalues: optional(into.values, "write"),
    dvaluesPitch: pitchBytes(into.values),
    pieceRows,
    chunk: headSize <= SMALL_HEAD ? 256 : 128,
  };
  const pieces = Math.ceil(tokens / pieceRows);
  on.dispatch(STATS, parameters, pieces);
  if (into.q !== undefined) on.dispatch(fma ? QUERIES_FMA : QUERIES, parameters, pieces * heads);
  if (into.keys !== undefined || into.values !== undefined) {
    on.dispatch(fma ? KEYS_FMA : KEYS, parameters, Math.ceil(keys.shape[0] / pieceRows) * kvHeads);
  }
  giveScratch(on, stats);
}
