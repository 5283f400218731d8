import type { KernelSource } from "../pipelines.ts";
import attentionText from "./attention.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("attention", attentionText);

/** Pairs (token, head of a group) that one workgroup serves. */
export const ATTENTION_TILE_ROWS = 8;
const THREADS = 128;

/**
 * Attention for heads of `headSize` elements, a multiple of 4.
 * @param softcap are scores capped?
 * @param extras does it take the first and last key of each token, and give the logarithms of the sums?
 */
export function attentionKernel(headSize: number, softcap: boolean, extras: boolean): KernelSource {
  const vectors = headSize / 4;
  return family({
    SOFTCAP: Number(softcap),
    EXTRAS: Number(extras),
    HEAD_VECTORS: vectors,
    TILE_ROWS: ATTENTION_TILE_ROWS,
    UNITS: Math.ceil((ATTENTION_TILE_ROWS * vectors) / THREADS),
  });
}

/** Parameters: see attention.wgsl. */
export const attentionParameters = uniformStruct({
  tokens: "u32",
  group: "u32",
  firstPosition: "u32",
  window: "u32",
  scale: "f32",
  cap: "f32",
  q: "place",
  k: "place",
  v: "place",
  y: "place",
  flags: "u32",
  firstsAt: "u32",
  lastsAt: "u32",
  sums: "place",
  heads: "u32",
});
