import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { Linears } from "./linears.ts";
import { type Norm, recordNorm } from "./norm.ts";
import { normedProduct, type Stream, streamOf } from "./stream.ts";

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
