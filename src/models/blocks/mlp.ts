import type { Activation } from "../../tensor/elementwise.ts";
import { OPS } from "../../tensor/ops/index.ts";
import type { Recorder } from "../../tensor/recorder.ts";
import { sliceCols, sliceRows, type Tensor } from "../../tensor/tensor.ts";
import type { Linears } from "../linears.ts";
import { type Output, recordOutput } from "./output.ts";

/** The weights of an MLP: gated with a `gateUp`, else plain. */
export interface MlpWeights {
  /** Gate and up, one below the other; gate alone where `up` stands apart; undefined: there is no gate. */
  readonly gateUp: Tensor | undefined;
  readonly gateUpBias: Tensor | undefined;
  /** Undefined where it is part of `gateUp`. */
  readonly up: Tensor | undefined;
  readonly upBias: Tensor | undefined;
  readonly output: Output;
}

/** Records residual + mlp(x), of x (tokens, width), which is released; the residual is not. */
export function recordMlp(
  recorder: Recorder,
  linears: Linears,
  kind: Activation,
  weights: MlpWeights,
  x: Tensor,
  residual: Tensor,
): Tensor {
  const [gate, up] = gateAndUp(recorder, linears, weights, x);
  recorder.release(x);
  const { y: active } =
    gate === undefined
      ? recorder.apply(OPS.activation, { x: up }, { kind })
      : recorder.apply(OPS.gatedActivation, { gate, up }, { kind });
  recorder.release(up, ...(gate === undefined || gate.buffer === up.buffer ? [] : [gate]));
  return recordOutput(recorder, linears, weights.output, active, residual);
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
