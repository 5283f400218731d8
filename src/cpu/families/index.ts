import type { Families, ScratchSizes } from "../../device/families.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { gemm, linear } from "./gemm.ts";

/** What the CPU device makes of each family. */
export const FAMILIES: { readonly [F in keyof Families]: (on: Dispatcher, operands: Families[F]) => void } = {
  adamw: missing,
  attention: missing,
  attentionGradient: missing,
  basisGradient: missing,
  columnSquares: missing,
  columnSums: missing,
  delta: missing,
  drawUnits: missing,
  dropout: missing,
  elementwise: missing,
  elementwiseGradient: missing,
  embedding: missing,
  embeddingGradient: missing,
  finish: missing,
  gemm,
  gradientNorm: missing,
  lambdaOrder: missing,
  layerNorm: missing,
  layerNormGradient: missing,
  linear,
  lossSum: missing,
  magnitudes: missing,
  nll: missing,
  nllGradient: missing,
  rescale: missing,
  rmsNorm: missing,
  rmsNormGradient: missing,
  rope: missing,
  ropeGradient: missing,
  rowSquares: missing,
  rows: missing,
  scaleColumns: missing,
  scaledA: missing,
  stridedSums: missing,
  thetaDelta: missing,
  thetaGradient: missing,
  topK: missing,
  unpack: missing,
  widen: missing,
  zero: missing,
};

/** Bytes of what callers hold for commands of the CPU device. */
export const SCRATCH: { readonly [F in keyof ScratchSizes]: (of: ScratchSizes[F]["of"]) => ScratchSizes[F]["bytes"] } =
  {
    basisGradient: missing,
    finish: missing,
    thetaGradient: missing,
  };

function missing(): never {
  throw new Error("this family is missing");
}
