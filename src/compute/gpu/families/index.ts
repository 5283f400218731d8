import type { Dispatcher } from "../context.ts";
import type { Families, Preparations, ScratchSizes } from "../../device/families.ts";
import { deltaKernel } from "../kernels/delta.ts";
import { FINISH_KERNEL } from "../kernels/finish.ts";
import { THETA_DELTA_KERNEL } from "../kernels/theta.ts";
import type { KernelSource } from "../pipelines.ts";
import { basisGradient, splitBasisGradient } from "./basis-gradient.ts";
import { drawUnits, lambdaOrder, scaledA, unpack, widen } from "./bilinear.ts";
import { convolution, convolutionGradient, tailConvolution } from "./convolution.ts";
import { delta } from "./delta.ts";
import { finish, finishWorkgroups } from "./finish.ts";
import { adamw, gradientNorm, lossSum } from "./optimizer.ts";
import { attention } from "./attention.ts";
import { attentionGradient } from "./attention-gradient.ts";
import { nll, nllGradient } from "./nll.ts";
import { fillCache, rope, ropeGradient } from "./rope.ts";
import { columnSums } from "./column-sums.ts";
import { dropout } from "./dropout.ts";
import { elementwise } from "./elementwise.ts";
import { expertRows, mixFactors, mixRows, routerWeights, routerWeightsGradient, spreadRows } from "./experts.ts";
import { gatedDelta, gatedDeltaGradient, regroup } from "./gated-delta.ts";
import { groupBias, groupSums } from "./group-bias.ts";
import { groupedGemm } from "./grouped-gemm.ts";
import { gemm } from "./gemm.ts";
import { linear, normedLinear } from "./linear.ts";
import { columnSquares, magnitudeKernels, magnitudes, rescale, rowSquares } from "./magnitude.ts";
import { embedding, embeddingGradient, rows, topK } from "./tokens.ts";
import { thetaDelta, thetaGradient, thetaPartBytes } from "./theta.ts";
import { sinks, sinksGradient } from "./sinks.ts";
import { stridedSums } from "./strided-sums.ts";

/** What a GPU makes of each family. */
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

/** The kernels that a GPU compiles ahead. */
export const PREPARED: {
  readonly [F in keyof Preparations]: (variant: Preparations[F]) => readonly KernelSource[];
} = {
  delta: (variant) => [deltaKernel(variant)],
  finish: () => [FINISH_KERNEL],
  thetaDelta: () => [THETA_DELTA_KERNEL],
  magnitudes: magnitudeKernels,
};

/** Bytes of what callers hold for a GPU's commands. */
export const SCRATCH: {
  readonly [F in keyof ScratchSizes]: (of: ScratchSizes[F]["of"]) => ScratchSizes[F]["bytes"];
} = {
  basisGradient: splitBasisGradient,
  finish: (of) => ({ statistics: 16 * finishWorkgroups(of) }),
  thetaGradient: ({ bases }) => ({ parts: thetaPartBytes(bases) }),
};
