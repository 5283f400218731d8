import type { Attention } from "../../device/families/attention.ts";
import { kvDtype } from "../../device/weight.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import {
  ATTENTION_TILE_KEYS,
  attentionJoinKernel,
  attentionKernel,
  attentionRecord,
  attentionTileRows,
  type AttentionVariant,
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
 * Few tokens have few pairs: their keys are then taken by many workgroups, a tile each, of those that tokens may see; where their
 * sequences lie apart, of those that there are. The bits are those of one workgroup that takes all.
 */
function someTokens(on: Dispatcher, operands: Attention, work: number): void {
  const { q, keys, values, first, last, headSize, scale, softcap, y, lse } = operands;
  const [tokens, width] = q.shape;
  const heads = width / headSize;
  const kvHeads = keys.shape[1] / headSize;
  const group = heads / kvHeads;
  const blocksOf = (count: number): number => Math.ceil((count * group) / attentionTileRows(headSize));
  const isApart = operands.apart === true;
  const sharing = isApart ? 1 : tokens; // that may see the same tile
  const [firstTile, tiles] = tilesOf(operands);
  const record = [tiles * sharing * heads, attentionRecord(headSize)] as const;
  const most = Math.min(MOST_RECORDS, on.gpu.limits.maxStorageBufferBindingSize);
  const isSplit =
    (isApart || blocksOf(tokens) * kvHeads < ENOUGH) && tiles > FEW_TILES && 4 * record[0] * record[1] <= most;
  const split: AttentionVariant["split"] = isSplit && isApart ? "apart" : isSplit;
  const extras = first !== undefined || last !== undefined || lse !== undefined;
  const variant = { headSize, softcap: softcap !== undefined, extras, kv: kvDtype("attention", keys, headSize), split };
  const records = isSplit ? takeScratch(on, "attention.records", record) : undefined;
  const sight = { ...sightOf(operands), firstTile };
  const sights = extras ? [first ?? q, last ?? q] : [];
  const sums = extras ? [lse] : [];
  on.dispatch(
    attentionKernel(variant),
    { ...sight, group, scale, cap: softcap ?? 0, q, k: keys, v: values },
    [q, keys, values, records ?? y, ...sights, ...(isSplit && extras ? [undefined] : sums)],
    [blocksOf(isSplit ? sharing : tokens), kvHeads, isSplit ? tiles : 1],
    work,
  );
  if (records === undefined) return;
  on.dispatch(
    attentionJoinKernel(variant),
    sight,
    [records, y, ...sights, ...sums],
    [heads, tokens],
    2 * record[0] * record[1],
  );
  giveScratch(on, records);
}

/** The tiles that all tokens together may see: the first, and how many; those of any sequences that do not lie apart are not taken alone. */
function tilesOf({ q, keys, first, last, firstPosition, window, apart }: Attention): [first: number, count: number] {
  if (apart === true) return [0, Math.ceil(keys.shape[0] / ATTENTION_TILE_KEYS)];
  if (first !== undefined || last !== undefined) return [0, 0];
  const begin = Math.floor(Math.max(0, firstPosition + 1 - window) / ATTENTION_TILE_KEYS);
  return [begin, Math.ceil((firstPosition + q.shape[0]) / ATTENTION_TILE_KEYS) - begin];
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
