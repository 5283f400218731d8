import type { Attention } from "../../device/families/attention.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { optional, pitchBytes, pointer } from "../operands.ts";
import type { CpuKernel, Members } from "../parameters.ts";
import { giveScratch, takeScratch } from "../scratch.ts";

export const ATTENTION = {
  name: "attention",
  members: {
    tokens: "u32",
    heads: "u32",
    kvHeads: "u32",
    group: "u32",
    head: "u32",
    firstPosition: "u32",
    window: "u32",
    scale: "f32",
    cap: "f32",
    q: "pointer",
    qPitch: "u32",
    keys: "pointer",
    keysPitch: "u32",
    values: "pointer",
    valuesPitch: "u32",
    firsts: "pointer",
    lasts: "pointer",
    y: "pointer",
    yPitch: "u32",
    lse: "pointer",
    lsePitch: "u32",
    pieceTokens: "u32",
    blocks: "u32",
    pieceHeads: "u32",
    headBlocks: "u32",
    parts: "u32",
    records: "pointer",
    recordBytes: "u32",
  },
} as const satisfies CpuKernel<Members>;

export const PARTS = { ...ATTENTION, name: "attentionParts" } as const;

/** Pairs of a token and a head in a piece, and keys of a chunk: MOST_PAIRS and CHUNK of the assembly. */
const MOST_PAIRS = 96;
const CHUNK = 256;
/** Pieces for each thread, so that none waits long for another. */
const PIECES = 4;

/**
 * A piece is some tokens of the heads that share a kv head. Where those are too few for the threads, as for one token,
 * each chunk of keys is a piece, and a second command brings together what the chunks came to: the same bits.
 */
export function attention(on: Dispatcher, operands: Attention): void {
  const { q, keys, values, first, last, headSize, firstPosition, scale, window, softcap, y, lse } = operands;
  const [tokens] = q.shape;
  const heads = q.shape[1] / headSize;
  const kvHeads = keys.shape[1] / headSize;
  const group = heads / kvHeads;
  const pieceHeads = Math.min(group, MOST_PAIRS);
  const headBlocks = Math.ceil(group / pieceHeads);
  const wanted = PIECES * on.threads;
  const most = Math.floor(MOST_PAIRS / pieceHeads);
  const pieceTokens = Math.min(most, Math.ceil((tokens * kvHeads * headBlocks) / wanted));
  const blocks = Math.ceil(tokens / pieceTokens);
  const pieces = blocks * kvHeads * headBlocks;
  const chunks = Math.ceil(keys.shape[0] / CHUNK);
  const parts = pieces < wanted && chunks > 2 ? chunks : 1;
  const record = 4 + Math.ceil(headSize / 8) * 8;
  const records = parts === 1 ? undefined : takeScratch(on, "attention.records", [tokens * heads * parts, record]);
  const parameters = {
    tokens,
    heads,
    kvHeads,
    group,
    head: headSize,
    firstPosition,
    window: Math.min(window, 0x7fffffff),
    scale,
    cap: softcap ?? 0,
    q: pointer(q),
    qPitch: pitchBytes(q),
    keys: pointer(keys),
    keysPitch: pitchBytes(keys),
    values: pointer(values),
    valuesPitch: pitchBytes(values),
    firsts: optional(first),
    lasts: optional(last),
    y: pointer(y, "change"),
    yPitch: pitchBytes(y),
    lse: optional(lse, "change"),
    lsePitch: pitchBytes(lse),
    pieceTokens,
    blocks,
    pieceHeads,
    headBlocks,
    parts,
    records: optional(records, "change"),
    recordBytes: record * 4,
  };
  on.dispatch(ATTENTION, parameters, pieces * parts);
  if (records === undefined) return;
  on.dispatch(PARTS, parameters, tokens * heads);
  giveScratch(on, records);
}
