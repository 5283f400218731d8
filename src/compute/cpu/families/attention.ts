import type { Attention } from "../../device/families/attention.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import { kvDtype } from "../../device/weight.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel } from "../parameters.ts";
import { ATTENDED, attended, KV_CODES } from "./attended.ts";

export const ATTENTION = cpuKernel("attention", {
  ...ATTENDED,
  y: "target",
  lse: "target",
  /** A piece is some tokens of some heads of one kv head, and each so many-th chunk of their keys where there are several parts. */
  pieceTokens: "u32",
  pieceHeads: "u32",
  headBlocks: "u32",
  parts: "u32",
  /** Of all keys that there are. */
  chunks: "u32",
  /** What the chunks come to where there are several parts: records by pair and chunk. */
  records: "targetRow",
  /** Bytes of a record. */
  recordBytes: "u32",
  /** Of keys and values. */
  dtype: "u32",
  /** Pieces, and how many of them have been computed so far. */
  pieces: "u32",
  computed: "u32",
});

/** Pairs of a token and a head in a piece, whole panels. */
export const MOST_PAIRS = 96;
/** Elements of a head at most whose chunks the scratch has room for; larger ones (Gemma 4's 512) have shorter chunks. */
export const WHOLE_HEAD = 256;
/** What a panel holds at most: fewer pairs take as long, and each piece reads all its keys for itself. */
const PANEL_PAIRS = 48;
/** Pieces for each thread, so that none waits long for another. */
const PIECES = 4;
/** Where there are fewer for each, chunks of keys are shared out, too. */
const PARTED = 2;

/** Keys of a chunk. */
export function chunkKeys(head: number): number {
  return head <= WHOLE_HEAD ? 256 : 128;
}

/**
 * A piece is some tokens of the heads that share a kv head. Where those are too few for the threads, as for one token or a short piece of a
 * prompt, chunks of keys are shared out, and who computes the last brings together what all came to: the same bits. Each piece reads all
 * keys that its tokens see, so those that fill a panel or two are one.
 */
export function attention(on: Dispatcher, operands: Attention): void {
  const { keys, headSize } = operands;
  const shared = attended(operands);
  const { tokens, heads, kvHeads, group } = shared;
  const pieceHeads = Math.min(group, MOST_PAIRS);
  const headBlocks = Math.ceil(group / pieceHeads);
  const wanted = PIECES * on.threads;
  const most = Math.floor(MOST_PAIRS / pieceHeads);
  const even = Math.ceil((tokens * kvHeads * headBlocks) / wanted);
  const whole = Math.floor((Math.ceil((even * pieceHeads) / PANEL_PAIRS) * PANEL_PAIRS) / pieceHeads);
  const dtype = KV_CODES[kvDtype("attention", keys, headSize)];
  const chunks = Math.ceil(keys.shape[0] / chunkKeys(headSize));
  const isOne = tokens <= most && chunks > 2;
  const pieceTokens = Math.min(most, tokens * pieceHeads < PANEL_PAIRS ? even : isOne ? tokens : whole);
  const pieces = Math.ceil(tokens / pieceTokens) * kvHeads * headBlocks;
  // There may be room for far more keys than anybody sees: parts are as many as threads need, whatever they hold.
  const parts = pieces < PARTED * on.threads && chunks > 2 ? Math.min(chunks, Math.ceil(wanted / pieces)) : 1;
  const record = 4 + Math.ceil(headSize / 8) * 8;
  const records = parts === 1 ? undefined : takeScratch(on, "attention.records", [tokens * heads * chunks, record]);
  on.dispatch(
    on.chosen(ATTENTION, dtype),
    {
      ...shared,
      pieceTokens,
      pieceHeads,
      headBlocks,
      parts,
      chunks,
      records,
      recordBytes: record * 4,
      dtype,
      pieces: pieces * parts,
      computed: 0,
    },
    pieces * parts,
  );
  if (records !== undefined) giveScratch(on, records);
}
