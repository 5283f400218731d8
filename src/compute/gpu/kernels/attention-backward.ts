import type { KernelSource } from "../pipelines.ts";
import headText from "./attention-backward.wgsl" with { type: "text" };
import subgroupText from "./attention-backward-subgroup.wgsl" with { type: "text" };
import workgroupText from "./attention-backward-workgroup.wgsl" with { type: "text" };
import statsText from "./attention-stats.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import type { GpuStaging } from "./staging.ts";
import { uniformStruct } from "./parameters.ts";

const families = {
  subgroup: kernelFamily("attention-backward", headText + subgroupText),
  workgroup: kernelFamily("attention-backward", headText + workgroupText),
};
const statsFamily = kernelFamily("attention-stats", statsText);

/** Rows of a tile of scores: of more, compiling takes longer than they save. */
const TILE_ROWS = 16;
/** Vectors of 4 in the workgroup memory of software GPUs, 32 KB. */
const WORKGROUP_VECTORS = 2048;
/** Columns of the workgroup staging. */
const WORKGROUP_COLUMNS = 32;

/** Which gradients a kernel computes: that of q, or those of keys and values. */
export type AttentionPass = "queries" | "keys";

/** Columns (pairs of a token and a head of one group, or keys) that a workgroup serves. */
export function attentionBackwardColumns(staging: GpuStaging): number {
  return staging.kind === "subgroup" ? 4 * staging.lanes : WORKGROUP_COLUMNS;
}

/** The gradient of attention for heads of any size. Parameters and bindings: see attention-backward.wgsl. */
export function attentionBackwardKernel(staging: GpuStaging, pass: AttentionPass, softcap: boolean): KernelSource {
  const roles = {
    PASS: pass,
    STAGING: staging.kind,
    COLUMNS: pass === "keys" ? "p.positions" : "(p.tokens * p.group)",
    COLUMN: pass === "keys" ? "key" : "pair",
    ROW: pass === "keys" ? "pair" : "key",
    RESULTS: pass === "keys" ? 2 : 1,
    SOFTCAP: Number(softcap),
  };
  if (staging.kind === "workgroup") return families.workgroup(roles);
  const { lanes } = staging;
  // Weights and slopes of a block of rows, besides a tile of results.
  const fitting = (WORKGROUP_VECTORS - 4 * lanes * lanes) / (2 * lanes);
  return families.subgroup({
    ...roles,
    LANES: lanes,
    ROWS_PER_LANE: TILE_ROWS / lanes,
    ROWS: TILE_ROWS,
    BLOCK: Math.floor(Math.min(256, fitting) / TILE_ROWS) * TILE_ROWS,
    SHUFFLE: lanes <= 8 ? "subgroupShuffle" : "subgroupBroadcast",
  });
}

/** Tokens that a workgroup of {@link ATTENTION_STATS_KERNEL} serves. */
export const ATTENTION_STATS_TOKENS = 64;

/** What the gradients need of each token and head; see attention-stats.wgsl. */
export const ATTENTION_STATS_KERNEL: KernelSource = statsFamily({});

/** Parameters: see attention-backward.wgsl. */
export const attentionBackwardParameters = uniformStruct({
  tokens: "u32",
  positions: "u32",
  group: "u32",
  head: "u32",
  causal: "flag",
  firstPosition: "u32",
  scale: "f32",
  cap: "f32",
  cols0: "place",
  cols1: "place",
  rows0: "place",
  rows1: "place",
  out0: "place",
  out1: "place",
});

/** Parameters: see attention-stats.wgsl. */
export const attentionStatsParameters = uniformStruct({
  tokens: "u32",
  heads: "u32",
  head: "u32",
  firstPosition: "u32",
  window: "u32",
  flags: "u32",
  y: "place",
  dy: "place",
  sums: "place",
  dsums: "place",
  firstsAt: "u32",
  lastsAt: "u32",
});
