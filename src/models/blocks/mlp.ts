import type { Activation } from "../../compute/tensor/elementwise.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import { sliceCols, sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import type { Linears } from "./linears.ts";
import { type Norm, recordNorm } from "./norm.ts";
import { type Output, recordOutput } from "./output.ts";
import { type Begun, normedProduct, recordSum, type Stream } from "./stream.ts";

/** The weights of an MLP: gated with a `gateUp`, else plain. */
export interface MlpWeights {
  /** Of the block's input. */
  readonly norm: Norm;
  /** Gate and up, one below the other; gate alone where `up` stands apart; undefined: there is no gate. */
  readonly gateUp: Tensor | undefined;
  readonly gateUpBias: Tensor | undefined;
  /** Undefined where it is part of `gateUp`. */
  readonly up: Tensor | undefined;
  readonly upBias: Tensor | undefined;
  readonly output: Output;
}

/** Records what the stream becomes by x + mlp(norm(x)); its tensors are not released. */
export function recordMlp(
  recorder: Recorder,
  linears: Linears,
  kind: Activation,
  weights: MlpWeights,
  stream: Stream,
): Stream {
  const { x, y: active } = recordActive(recorder, linears, kind, weights, stream);
  const result = recordOutput(recorder, linears, weights.output, active, x);
  if (x !== stream.x && x !== result.x) recorder.release(x);
  return result;
}

/** What goes into the last matrix. */
function recordActive(
  recorder: Recorder,
  linears: Linears,
  kind: Activation,
  weights: MlpWeights,
  stream: Stream,
): Begun {
  const { norm, gateUp, gateUpBias, up } = weights;
  const fused = normedProduct(recorder, linears, norm);
  if (fused !== undefined && gateUp !== undefined && up === undefined && gateUp.shape[0] % 8 === 0) {
    return fused({ ...stream, weight: gateUp, bias: gateUpBias, gate: kind });
  }
  const x = recordSum(recorder, stream);
  const normed = recordNorm(recorder, norm, x);
  const [left, right] = gateAndUp(recorder, linears, weights, normed);
  recorder.release(normed);
  const { y } =
    left === undefined
      ? recorder.apply(OPS.activation, { x: right }, { kind })
      : recorder.apply(OPS.gatedActivation, { gate: left, up: right }, { kind });
  recorder.release(right, ...(left === undefined || left.buffer === right.buffer ? [] : [left]));
  return { x, y };
}

/** One product where its halves can be looked at apart, else two. */
function gateAndUp(
  recorder: Recorder,
  linears: Linears,
  { gateUp, gateUpBias, up, upBias }: MlpWeights,
  x: Tensor,
): [gate: Tensor | undefined, up: Tensor] {
  const project = (weight: Tensor, bias?: Tensor) => linears.apply(recorder, { x, weight, bias, residual: undefined });
  const gateOf = () => gateUp && project(gateUp, gateUpBias);
  if (up !== undefined) return [gateOf(), project(up, upBias)];
  if (gateUp === undefined) throw new TypeError("an MLP without matrices");
  const size = gateUp.shape[0] / 2;
  // Fused in the checkpoint (Phi 3, which has no biases).
  if (size % 4 !== 0) return [project(sliceRows(gateUp, 0, size)), project(sliceRows(gateUp, size, size))];
  const both = project(gateUp, gateUpBias);
  return [sliceCols(both, 0, size), sliceCols(both, size, size)];
}
