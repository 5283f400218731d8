import { OPS } from "../../tensor/ops/index.ts";
import type { Recorder } from "../../tensor/recorder.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Linears } from "../linears.ts";
import { type Norm, recordNorm } from "./norm.ts";

/** The matrix at the end of a block, whose result is added to what the block began from. */
export interface Output {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  /** Of its result, before that is added (Gemma); undefined: none. */
  readonly norm: Norm | undefined;
}

/** Records residual + x Wᵀ + bias, or residual + norm(x Wᵀ + bias); releases x alone. */
export function recordOutput(
  recorder: Recorder,
  linears: Linears,
  { weight, bias, norm }: Output,
  x: Tensor,
  residual: Tensor,
): Tensor {
  if (norm === undefined) {
    const added = linears.apply(recorder, { x, weight, bias, residual });
    recorder.release(x);
    return added;
  }
  const projected = linears.apply(recorder, { x, weight, bias, residual: undefined });
  const normed = recordNorm(recorder, norm, projected);
  const { y } = recorder.apply(OPS.add, { a: residual, b: normed }, {});
  recorder.release(projected, normed, x);
  return y;
}
