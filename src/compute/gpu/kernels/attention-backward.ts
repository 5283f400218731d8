import backwardText from "./attention-backward.wgsl" with { type: "text" };
import statsText from "./attention-stats.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** Parameters of attention-backward.wgsl. */
const attentionBackwardParameters = uniformStruct({
  tokens: "u32",
  positions: "u32",
  group: "u32", // heads that share a kv head
  head: "inVectors",
  causal: "flag", // no pair sees a key behind its token's position, so that whole pairs can be left out
  firstPosition: "u32", // where it is causal
  scale: "f32",
  cap: "f32", // scores become cap · tanh(score / cap)
  cols0: "vectors",
  cols1: "vectors",
  rows0: "vectors",
  rows1: "vectors",
  out0: "vectors",
  out1: "vectors",
  firstTile: "u32", // of columns, in this dispatch
});

/** Parameters of attention-stats.wgsl. */
const attentionStatsParameters = uniformStruct({
  tokens: "u32",
  heads: "u32",
  head: "inVectors", // at most 128, because one sum runs over them
  firstPosition: "u32",
  window: "u32", // keys seen at most
  flags: "u32",
  y: "vectors",
  dy: "vectors",
  sums: "elements",
  dsums: "elements",
  firstsAt: "u32",
  lastsAt: "u32",
});

const family = kernelFamily("attention-backward", backwardText, attentionBackwardParameters);
const statsFamily = kernelFamily("attention-stats", statsText, attentionStatsParameters);

/** Columns (pairs of a token and a head of one group, or keys) that a workgroup serves. */
export const ATTENTION_BACKWARD_COLUMNS = 32;

/** Which gradients a kernel computes: that of q, or those of keys and values. */
export type AttentionPass = "queries" | "keys";

/** The gradient of attention for heads of any size. Parameters and bindings: see attention-backward.wgsl. */
export function attentionBackwardKernel(pass: AttentionPass, softcap: boolean) {
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
export const ATTENTION_STATS_KERNEL = statsFamily({});
