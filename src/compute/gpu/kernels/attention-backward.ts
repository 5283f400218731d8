import type { KernelSource } from "../pipelines.ts";
import backwardText from "./attention-backward.wgsl" with { type: "text" };
import statsText from "./attention-stats.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("attention-backward", backwardText);
const statsFamily = kernelFamily("attention-stats", statsText);

/** Columns (pairs of a token and a head of one group, or keys) that a workgroup serves. */
export const ATTENTION_BACKWARD_COLUMNS = 32;

/** Which gradients a kernel computes: that of q, or those of keys and values. */
export type AttentionPass = "queries" | "keys";

/** The gradient of attention for heads of any size. Parameters and bindings: see attention-backward.wgsl. */
export function attentionBackwardKernel(pass: AttentionPass, softcap: boolean): KernelSource {
  return family({
    PASS: pass,
    COLUMNS: pass === "keys" ? "p.positions" : "(p.tokens * p.group)",
    COLUMN: pass === "keys" ? "key" : "pair",
    ROW: pass === "keys" ? "pair" : "key",
    RESULTS: pass === "keys" ? 2 : 1,
    SOFTCAP: Number(softcap),
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
  firstTile: "u32",
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
