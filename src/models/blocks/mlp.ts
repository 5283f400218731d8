import type { Activation } from "../../compute/tensor/elementwise.ts";
import { OPS } from "../../compute/tensor/ops/index.ts";
import type { Recorder } from "../../compute/tensor/recorder.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { recordHalves } from "./columns.ts";
import type { Linears } from "./linears.ts";
import type { Norm } from "./norm.ts";
import { type Begun, normedProduct, type Output, recordInput, type Stream } from "./stream.ts";

/** An MLP: gated with a `gateUp`, else plain. */
export interface Mlp<W = Tensor> {
  readonly kind: "mlp";
  readonly activation: Activation;
  /** Gate and up, one below the other; gate alone where `up` stands apart; undefined: there is no gate. */
  readonly gateUp: W | undefined;
  readonly gateUpBias: W | undefined;
  /** Undefined where it is part of `gateUp`. */
  readonly up: W | undefined;
  readonly upBias: W | undefined;
  readonly output: Output<W>;
}

/** Records an MLP over norm(stream), up to what goes into its last matrix; the stream's tensors are not released. */
export function recordMlp(
  recorder: Recorder,
  linears: Linears,
  norm: Norm | undefined,
  mlp: Mlp,
  stream: Stream,
): Begun {
  const { gateUp, gateUpBias, up, activation: kind } = mlp;
  const fused = normedProduct(recorder, linears, norm);
  if (fused !== undefined && gateUp !== undefined && up === undefined && gateUp.shape[0] % 8 === 0) {
    return fused({ ...stream, weight: gateUp, bias: gateUpBias, gate: kind });
  }
  const { x, normed } = recordInput(recorder, norm, stream);
  const [left, right] = gateAndUp(recorder, linears, mlp, normed);
  if (normed !== x) recorder.release(normed);
  const { y } =
    left === undefined
      ? recorder.apply(OPS.activation, { x: right }, { kind })
      : recorder.apply(OPS.gatedActivation, { gate: left, up: right }, { kind });
  recorder.release(right, ...(left === undefined || left.buffer === right.buffer ? [] : [left]));
  return { x, y };
}

/** One product, or two of matrices that stand apart. */
function gateAndUp(
  recorder: Recorder,
  linears: Linears,
  { gateUp, gateUpBias, up, upBias }: Mlp,
  x: Tensor,
): readonly [gate: Tensor | undefined, up: Tensor] {
  const project = (weight: Tensor, bias?: Tensor) => linears.apply(recorder, { x, weight, bias, residual: undefined });
  const gateOf = () => gateUp && project(gateUp, gateUpBias);
  if (up !== undefined) return [gateOf(), project(up, upBias)];
  if (gateUp === undefined) throw new TypeError("an MLP without matrices");
  return recordHalves(recorder, project(gateUp, gateUpBias)).halves;
}
