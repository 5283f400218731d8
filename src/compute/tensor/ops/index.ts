import { activation } from "./activation.ts";
import { add } from "./add.ts";
import { attention } from "./attention.ts";
import { combineRows } from "./combine-rows.ts";
import { dropout } from "./dropout.ts";
import { embedding } from "./embedding.ts";
import { gatedActivation } from "./gated-activation.ts";
import { layerNorm } from "./layer-norm.ts";
import { linear } from "./linear.ts";
import { nll } from "./nll.ts";
import { normedLinear } from "./normed-linear.ts";
import { rmsNorm } from "./rms-norm.ts";
import { rope } from "./rope.ts";
import { rows } from "./rows.ts";
import { scaleColumns } from "./scale-columns.ts";
import { softcap } from "./softcap.ts";
import { topK } from "./top-k.ts";

/** Every op. What is known of all ops (test cases; gradients) is a record with exactly these keys. */
export const OPS = {
  activation,
  add,
  attention,
  combineRows,
  dropout,
  embedding,
  gatedActivation,
  layerNorm,
  linear,
  nll,
  normedLinear,
  rmsNorm,
  rope,
  rows,
  scaleColumns,
  softcap,
  topK,
} as const;
