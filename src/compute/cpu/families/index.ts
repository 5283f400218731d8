import type { Families, ScratchSizes } from "../../device/families.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { attentionGradient } from "./attention-gradient.ts";
import { attention } from "./attention.ts";
import { basisGradient, partBytes } from "./basis-gradient.ts";
import { drawUnits, lambdaOrder, scaledA, unpack, widen } from "./bilinear.ts";
import { columnSums } from "./columns.ts";
import { convolution, convolutionGradient, tailConvolution } from "./convolution.ts";
import { delta } from "./delta.ts";
import { dropout } from "./dropout.ts";
import { elementwise } from "./elementwise.ts";
import { finish, finishPieces } from "./finish.ts";
import { expertRows, mixFactors, mixRows, routerWeights, routerWeightsGradient, spreadRows } from "./experts.ts";
import { gatedDelta, gatedDeltaGradient, regroup } from "./gated-delta.ts";
import { groupBias, groupSums } from "./group-bias.ts";
import { groupedGemm } from "./grouped-gemm.ts";
import { gemm, linear } from "./gemm.ts";
import { lossSum, nll, nllGradient } from "./losses.ts";
import { columnSquares, magnitudes, rescale, rowSquares } from "./magnitude.ts";
import { normedLinear } from "./normed-linear.ts";
import { adamw, gradientNorm } from "./optimizer.ts";
import { fillCache, rope, ropeGradient } from "./rope.ts";
import { sinks, sinksGradient } from "./sinks.ts";
import { stridedSums } from "./strided-sums.ts";
import { thetaDelta, thetaGradient, thetaPartBytes } from "./theta.ts";
import { embedding, embeddingGradient, rows } from "./tokens.ts";
import { topK } from "./top-k.ts";

/** What the CPU device makes of each family. */
export const FAMILIES: { readonly [F in keyof Families]: (on: Dispatcher, operands: Families[F]) => void } = {
  adamw,
  attention,
  attentionGradient,
  basisGradient,
  columnSquares,
  columnSums,
  convolution,
  convolutionGradient,
  delta,
  drawUnits,
  dropout,
  elementwise,
  embedding,
  embeddingGradient,
  expertRows,
  fillCache,
  finish,
  gatedDelta,
  gatedDeltaGradient,
  gemm,
  gradientNorm,
  groupBias,
  groupedGemm,
  groupSums,
  lambdaOrder,
  linear,
  lossSum,
  magnitudes,
  mixFactors,
  mixRows,
  nll,
  nllGradient,
  normedLinear,
  regroup,
  rescale,
  rope,
  ropeGradient,
  routerWeights,
  routerWeightsGradient,
  rowSquares,
  rows,
  scaledA,
  sinks,
  sinksGradient,
  spreadRows,
  stridedSums,
  tailConvolution,
  thetaDelta,
  thetaGradient,
  topK,
  unpack,
  widen,
};

/** Bytes of what callers hold for commands of the CPU device. */
export const SCRATCH: { readonly [F in keyof ScratchSizes]: (of: ScratchSizes[F]["of"]) => ScratchSizes[F]["bytes"] } =
  {
    basisGradient: partBytes,
    finish: (of) => ({ statistics: finishPieces(of) * 16 }),
    thetaGradient: ({ bases }) => ({ parts: thetaPartBytes(bases) }),
  };
