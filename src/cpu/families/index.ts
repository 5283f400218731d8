import type { Families, ScratchSizes } from "../../device/families.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { drawUnits, lambdaOrder, scaledA, unpack, widen } from "./bilinear.ts";
import { delta } from "./delta.ts";
import { dropout } from "./dropout.ts";
import { finish, finishPieces } from "./finish.ts";
import { gemm, linear } from "./gemm.ts";
import { adamw, gradientNorm } from "./optimizer.ts";

/** What the CPU device makes of each family. */
export const FAMILIES: { readonly [F in keyof Families]: (on: Dispatcher, operands: Families[F]) => void } = {
  adamw,
  attention: missing,
  attentionGradient: missing,
  basisGradient: missing,
  columnSquares: missing,
  columnSums: missing,
  delta,
  drawUnits,
  dropout,
  elementwise: missing,
  elementwiseGradient: missing,
  embedding: missing,
  embeddingGradient: missing,
  finish,
  gemm,
  gradientNorm,
  lambdaOrder,
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
  scaledA,
  stridedSums: missing,
  thetaDelta: missing,
  thetaGradient: missing,
  topK: missing,
  unpack,
  widen,
  zero: missing,
};

/** Bytes of what callers hold for commands of the CPU device. */
export const SCRATCH: { readonly [F in keyof ScratchSizes]: (of: ScratchSizes[F]["of"]) => ScratchSizes[F]["bytes"] } =
  {
    basisGradient: missing,
    finish: (of) => ({ statistics: finishPieces(of) * 16 }),
    thetaGradient: missing,
  };

function missing(): never {
  throw new Error("this family is missing");
}
