import { ROW_OPS } from "../row-op.ts";
import { attention } from "./attention.ts";
import { combineRows } from "./combine-rows.ts";
import { convolution } from "./convolution.ts";
import { dropout } from "./dropout.ts";
import { embedding } from "./embedding.ts";
import { expertRows, spreadRows } from "./expert-rows.ts";
import { gatedDelta } from "./gated-delta.ts";
import { groupBias } from "./group-bias.ts";
import { groupedLinear } from "./grouped-linear.ts";
import { linear } from "./linear.ts";
import { mixRows } from "./mix-rows.ts";
import { nll } from "./nll.ts";
import { normedLinear } from "./normed-linear.ts";
import { regroup } from "./regroup.ts";
import { rope } from "./rope.ts";
import { routerWeights } from "./router-weights.ts";
import { rows } from "./rows.ts";
import { topK } from "./top-k.ts";

/** Every op. What is known of all ops (test cases; gradients) is a record with exactly these keys. */
export const OPS = {
  ...ROW_OPS,
  attention,
  combineRows,
  convolution,
  dropout,
  embedding,
  expertRows,
  gatedDelta,
  groupBias,
  groupedLinear,
  linear,
  mixRows,
  nll,
  normedLinear,
  regroup,
  rope,
  routerWeights,
  rows,
  spreadRows,
  topK,
} as const;
