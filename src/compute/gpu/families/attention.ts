import type { Attention } from "../../device/families/attention.ts";
import { kvDtype } from "../../device/weight.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import {
  ATTENTION_TILE_KEYS,
  attentionJoinKernel,
  attentionKernel,
  attentionRecord,
  attentionTileRows,
} from "../kernels/attention.ts";
import { sliceCols, sliceRows } from "../../device/tensor.ts";
import type { Dispatcher } from "../context.ts";
import { rowsOfWork } from "../work.ts";

/** Tiles that one workgroup is soon through. */
const FEW_TILES = 4;
/** Workgroups that no card has room for at once: fewer are split over keys. */
const ENOUGH = 512;
/** Bytes of records at most. */
const MOST_RECORDS = 2 ** 25;

/** Tokens are taken in parts where keys are many: what each sees does not depend on the others. */
export function attention(on: Dispatcher, operands: Attention): void {
  const { q, keys, first, last, headSize, firstPosition, window, y, lse } = operands;
  const [tokens, width] = q.shape;
  const seen = Math.min(keys.shape[0], window, last === undefined ? firstPosition + tokens : Infinity);
  const step = rowsOfWork(4 * width * seen, attentionTileRows(headSize));
  for (let token = 0; token < tokens; token += step) {
    const count = Math.min(step, tokens - token);
    const some = {
      ...operands,
      q: sliceRows(q, token, count),
      y: sliceRows(y, token, count),
      first: first && sliceCols(first, token, count),
      last: last && sliceCols(last, token, count),
      lse: lse && sliceRows(lse, token, count),
      firstPosition: firstPosition + token,
    };
    someTokens(on, some, 4 * width * seen * count);
  }
}

/**
 * One token has few pairs: its keys are then taken by many workgroups, a tile each. How many there are follows from the cache's size,
 * so that a recording is the same wherever in it the token stands; the bits are those of one workgroup that takes all.
 */
function someTokens(on: Dispatcher, operands: Attention, work: number): void {
  const { q, keys, values, first, last, headSize, scale, softcap, y, lse } = operands;
  const [tokens, width] = q.shape;
  const heads = width / headSize;
  const kvHeads = keys.shape[1] / headSize;
  const group = heads / kvHeads;
  const blocks = Math.ceil((tokens * group) / attentionTileRows(headSize));
  const tiles = Math.ceil(keys.shape[0] / ATTENTION_TILE_KEYS);
  const record = attentionRecord(headSize);
  const most = Math.min(MOST_RECORDS, on.gpu.limits.maxStorageBufferBindingSize);
  const split = blocks * kvHeads < ENOUGH && tiles > FEW_TILES && 4 * record * heads * tokens * tiles <= most;
  const extras = first !== undefined || last !== undefined || lse !== undefined;
  const variant = { headSize, softcap: softcap !== undefined, extras, kv: kvDtype("attention", keys, headSize), split };
  const records = split ? takeScratch(on, "attention.records", [tiles * tokens * heads, record]) : undefined;
  const sight = sightOf(operands);
  const sights = extras ? [first ?? q, last ?? q] : [];
  const sums = extras ? [lse] : [];
  on.dispatch(
    attentionKernel(variant),
    { ...sight, group, scale, cap: softcap ?? 0, q, k: keys, v: values },
    [q, keys, values, records ?? y, ...sights, ...(split && extras ? [undefined] : sums)],
    [blocks, kvHeads, split ? tiles : 1],
    work,
  );
  if (records === undefined) return;
  on.dispatch(
    attentionJoinKernel(variant),
    sight,
    [records, y, ...sights, ...sums],
    [heads, tokens],
    2 * tiles * record * heads * tokens,
  );
  giveScratch(on, records);
}

/** Which keys are seen, and where results go. */
function sightOf({ q, first, last, headSize, firstPosition, window, y, lse }: Attention) {
  return {
    tokens: q.shape[0],
    heads: q.shape[1] / headSize,
    firstPosition,
    window: Math.min(window, 0x7fffffff),
    y,
    flags: Number(first !== undefined) + 2 * Number(last !== undefined) + 4 * Number(lse !== undefined),
    firstsAt: first?.offset ?? 0,
    lastsAt: last?.offset ?? 0,
    sums: lse,
  } as const;
}
