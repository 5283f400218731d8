import type { KernelSource } from "../pipelines.ts";
import headText from "./attention.wgsl" with { type: "text" };
import subgroupText from "./attention-subgroup.wgsl" with { type: "text" };
import workgroupText from "./attention-workgroup.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import type { GpuStaging } from "./staging.ts";
import { uniformStruct } from "./parameters.ts";

const families = {
  subgroup: kernelFamily("attention", headText + subgroupText),
  workgroup: kernelFamily("attention", headText + workgroupText),
};

/** Query rows per lane of the subgroup staging. */
const ROWS_PER_LANE = 1;
/** Vectors of the outputs per lane; larger heads are cut into slices, because accumulators cost compile time. */
const MAX_VECTORS_PER_LANE = 2;
/** Pairs (token, head) that a workgroup of the other staging serves. */
const WORKGROUP_ROWS = 8;

/** Pairs (token, head of a group) that one workgroup serves. */
export function attentionTileRows(staging: GpuStaging): number {
  return staging.kind === "subgroup" ? ROWS_PER_LANE * staging.lanes : WORKGROUP_ROWS;
}

/** Slices of a head; a workgroup computes one. */
export function attentionSlices(staging: GpuStaging, headSize: number): number {
  return staging.kind === "subgroup" ? Math.ceil(headSize / 4 / staging.lanes / MAX_VECTORS_PER_LANE) : 1;
}

/**
 * Attention for heads of `headSize` elements, a multiple of 4.
 * @param softcap are scores capped?
 * @param extras does it take the first and last key of each token, and give the logarithms of the sums?
 */
export function attentionKernel(
  staging: GpuStaging,
  headSize: number,
  softcap: boolean,
  extras: boolean,
): KernelSource {
  const vectors = headSize / 4;
  const rows = attentionTileRows(staging);
  const lanes = staging.kind === "subgroup" ? staging.lanes : 0;
  return families[staging.kind]({
    STAGING: staging.kind,
    SOFTCAP: Number(softcap),
    EXTRAS: Number(extras),
    HEAD_VECTORS: vectors,
    TILE_ROWS: rows,
    LANES: lanes,
    ROWS_PER_LANE,
    VECTORS_PER_LANE: lanes === 0 ? 0 : Math.min(MAX_VECTORS_PER_LANE, Math.ceil(vectors / lanes)),
    SHUFFLE: lanes <= 8 ? "subgroupShuffle" : "subgroupBroadcast",
    UNITS: Math.ceil((rows * vectors) / 128),
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
