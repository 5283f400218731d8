import type { KvDtype } from "../../device/dtype.ts";
import joinText from "./attention-join.wgsl" with { type: "text" };
import attentionText from "./attention.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** Parameters of attention-join.wgsl. */
const attentionJoinParameters = uniformStruct({
  tokens: "u32",
  heads: "u32",
  firstPosition: "u32",
  window: "u32",
  firstTile: "u32",
  y: "vectors",
  flags: "u32",
  firstsAt: "u32", // elements, here and below
  lastsAt: "u32",
  sums: "elements",
});

/** Parameters of attention.wgsl. */
const attentionParameters = uniformStruct({
  tokens: "u32",
  group: "u32", // heads that share a kv head
  firstPosition: "u32",
  window: "u32", // keys seen at most
  firstTile: "u32", // that records begin with
  scale: "f32",
  cap: "f32", // where there is a SOFTCAP, scores become cap · tanh(score / cap)
  q: "vectors",
  k: "vectors",
  v: "vectors",
  y: "vectors",
  flags: "u32",
  firstsAt: "u32", // elements, here and below
  lastsAt: "u32",
  sums: "elements",
  heads: "u32",
});

const family = kernelFamily("attention", attentionText, attentionParameters);

/** Pairs (token, head of a group) that one workgroup serves: with the queries of more there is no room in the 16 KB that every GPU has. */
export function attentionTileRows(headSize: number): number {
  return headSize > 256 ? 4 : 8;
}
/** Keys of a tile; SPLIT kernels leave a record of each. */
export const ATTENTION_TILE_KEYS = 128;
const THREADS = ATTENTION_TILE_KEYS;

/** What attention is made for. */
export interface AttentionVariant {
  /** Elements of a head, a multiple of 4. */
  readonly headSize: number;
  /** Are scores capped? */
  readonly softcap: boolean;
  /** Does it take the first and last key of each token, and give the logarithms of the sums? */
  readonly extras: boolean;
  /** What keys and values are held in. */
  readonly kv: KvDtype;
  /** Is a tile of keys a workgroup's, which leaves records? Where tokens are "apart", it is one token's. */
  readonly split: boolean | "apart";
}

export function attentionKernel({ headSize, softcap, extras, kv, split }: AttentionVariant) {
  const vectors = headSize / 4;
  const tileRows = attentionTileRows(headSize);
  return family({
    SOFTCAP: Number(softcap),
    EXTRAS: Number(extras),
    KV: kv,
    SPLIT: Number(split !== false),
    APART: Number(split === "apart"),
    HEAD_VECTORS: vectors,
    TILE_ROWS: tileRows,
    TILE_KEYS: ATTENTION_TILE_KEYS,
    UNITS: Math.ceil((tileRows * vectors) / THREADS),
  });
}

const join = kernelFamily("attention-join", joinText, attentionJoinParameters);

/** Joins records of tiles of keys. */
export function attentionJoinKernel({ headSize, extras, split }: AttentionVariant) {
  const vectors = headSize / 4;
  const threads = Math.ceil(vectors / 64) * 64;
  return join({
    SPLIT: 1,
    APART: Number(split === "apart"),
    EXTRAS: Number(extras),
    HEAD_VECTORS: vectors,
    THREADS: threads,
    TILE_KEYS: ATTENTION_TILE_KEYS,
  });
}

/** Elements of a record: two numbers in a vector of 4, and a head. */
export function attentionRecord(headSize: number): number {
  return headSize + 4;
}
