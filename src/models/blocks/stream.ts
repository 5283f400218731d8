import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Linears, NormedProjection } from "./linears.ts";
import { type Norm, recordNorm, type RmsNorm } from "./norm.ts";

/** What runs through the layers: x + norm(branch.x), where that sum may be left to the block that reads it. */
export interface Stream {
  /** (tokens, width) F32. */
  readonly x: Tensor;
  /** What the last block gave; undefined: it is in x. */
  readonly branch: { readonly x: Tensor; readonly norm: RmsNorm } | undefined;
}

/** A stream of which nothing is left to do. */
export function streamOf(x: Tensor): Stream {
  return { x, branch: undefined };
}

/** What a block begins with: the product of its input, and that input before its norm, which the result is added to. */
export interface Begun {
  readonly y: Tensor;
  /** The stream's x where no branch was to join that, else a tensor of its own. */
  readonly x: Tensor;
}

/** How blocks begin in one command; undefined where `linears` or the norm know none, or steps are kept to be differentiated. */
export function normedProduct(
  recorder: Recorder,
  { applyNormed }: Linears,
  norm: Norm | undefined,
): ((projection: Omit<NormedProjection, "norm">) => Begun) | undefined {
  if (applyNormed === undefined || norm?.kind !== "rms" || recorder.differentiates) return undefined;
  return (projection) => applyNormed(recorder, { ...projection, norm });
}

/** Records the sum that a stream stands for: its x where that is all. */
export function recordSum(recorder: Recorder, { x, branch }: Stream): Tensor {
  if (branch === undefined) return x;
  const normed = recordNorm(recorder, branch.norm, branch.x);
  const { y } = recorder.apply(OPS.add, { a: x, b: normed }, {});
  recorder.release(normed);
  return y;
}

/** Records the product that a block begins with, of its input as it is where there is no norm. */
export function recordBegin(
  recorder: Recorder,
  linears: Linears,
  norm: Norm | undefined,
  { weight, bias }: { readonly weight: Tensor; readonly bias: Tensor | undefined },
  stream: Stream,
): Begun {
  const fused = normedProduct(recorder, linears, norm);
  if (fused !== undefined) return fused({ ...stream, weight, bias, gate: undefined });
  const { x, normed } = recordInput(recorder, norm, stream);
  const y = linears.apply(recorder, { x: normed, weight, bias, residual: undefined });
  if (normed !== x) recorder.release(normed);
  return { x, y };
}

/** Records a block's input and its norm: the input itself where there is none. */
export function recordInput(
  recorder: Recorder,
  norm: Norm | undefined,
  stream: Stream,
): { readonly x: Tensor; readonly normed: Tensor } {
  const x = recordSum(recorder, stream);
  return { x, normed: norm === undefined ? x : recordNorm(recorder, norm, x) };
}

/** Releases what a stream consists of and those before and after it do not. */
export function releaseStream(recorder: Recorder, { x, branch }: Stream, ...others: readonly Stream[]): void {
  if (branch !== undefined) recorder.release(branch.x);
  if (others.every((other) => other.x !== x)) recorder.release(x);
}

/** The same where one tensor shall come of a block: what else the stream consists of, and not the one before it, is released. */
export function recordWhole(recorder: Recorder, stream: Stream, before: Stream): Tensor {
  const x = recordSum(recorder, stream);
  if (x !== stream.x) releaseStream(recorder, stream, before);
  return x;
}

/** The matrix at the end of a mixer, and its bias (1, width) F32. */
export interface Output<W = Tensor> {
  readonly weight: W;
  readonly bias: W | undefined;
}

/** What is done to a mixer's result before it is added to what the block began from. */
export interface Ending<W = Tensor> {
  /** Of the result (Gemma, OLMo 2); undefined: none. */
  readonly after?: Norm<W> | undefined;
  /** Factors of its columns, (1, width) F32: LayerScale (arXiv:2103.17239), DINOv2's; undefined: none. */
  readonly scale?: W | undefined;
  /** A factor of all of it (Granite); 1 by default. */
  readonly factor?: number;
  /** Factors of the columns of the sum, (1, width) F32 (Gemma 4's scalar of a layer); undefined: none. */
  readonly whole?: W | undefined;
}

/** Records whole · (residual + factor · scale · after(x Wᵀ + bias)), and releases x alone. Where the next block can, the norm is left to it. */
export function recordOutput(
  recorder: Recorder,
  linears: Linears,
  { weight, bias }: Output,
  ending: Ending,
  x: Tensor,
  residual: Tensor,
): Stream {
  const { after, scale, factor = 1, whole } = ending;
  const isAdded = after === undefined && scale === undefined && factor === 1;
  const result = linears.apply(recorder, { x, weight, bias, residual: isAdded ? residual : undefined });
  recorder.release(x);
  return isAdded ? recordTimes(recorder, result, whole) : recordEnding(recorder, linears, ending, result, residual);
}

/** The same of a result that no matrix is the end of, which is released. */
export function recordEnding(
  recorder: Recorder,
  linears: Linears,
  { after: norm, scale, factor = 1, whole }: Ending,
  result: Tensor,
  residual: Tensor,
): Stream {
  if (
    norm?.kind === "rms" &&
    scale === undefined &&
    factor === 1 &&
    whole === undefined &&
    normedProduct(recorder, linears, norm) !== undefined
  ) {
    return { x: residual, branch: { x: result, norm } };
  }
  const normed = norm === undefined ? result : recordNorm(recorder, norm, result);
  const scaled = factor === 1 ? normed : recorder.apply(OPS.scale, { x: normed }, { factor }).y;
  const { y } =
    scale === undefined
      ? recorder.apply(OPS.add, { a: residual, b: scaled }, {})
      : recorder.apply(OPS.scaleColumns, { x: scaled, scale, bias: undefined, residual }, {});
  recorder.release(...new Set([result, normed, scaled]));
  return recordTimes(recorder, y, whole);
}

/** Records x times factors of its columns, where there are some, and releases x then. */
function recordTimes(recorder: Recorder, x: Tensor, scale: Tensor | undefined): Stream {
  if (scale === undefined) return streamOf(x);
  const { y } = recorder.apply(OPS.scaleColumns, { x, scale, bias: undefined, residual: undefined }, {});
  recorder.release(x);
  return streamOf(y);
}
