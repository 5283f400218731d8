import type { Projection } from "../../../models/blocks/linears.ts";
import type { Masks } from "../dropout.ts";
import { recordDropout } from "../../../compute/tensor/dropout.ts";
import { recordCopy } from "../../../compute/tensor/elementwise.ts";
import type { Recorder } from "../../../compute/tensor/recorder.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";

/** A linear layer's operands, as the decoder gives them. */
export interface LinearOperands {
  /** (tokens, in) F32. */
  readonly x: Tensor;
  /** (1, out). */
  readonly bias: Tensor | undefined;
  /** (tokens, out) F32, added to y. */
  readonly residual: Tensor | undefined;
  /** Rows of the largest pass of a batch; see OPS.linear. */
  readonly rowsAtMost?: number | undefined;
}

/** What the backward pass of a linear layer works on. */
export interface LinearGradients {
  readonly x: Tensor;
  /** ∂loss/∂y. */
  readonly dy: Tensor;
  /** Where ∂loss/∂x goes, assigned; undefined where nobody asks. */
  readonly dx: Tensor | undefined;
}

/** How an adapted matrix is computed, and differentiated. */
export interface AdaptedPasses {
  /** Records y (tokens, out), assigned. */
  forward(run: Run, operands: LinearOperands, y: Tensor): void;
  /** Records ∂loss/∂x, and adds to the gradients of what is trained. */
  backward(run: Run, gradients: LinearGradients): void;
}

/** Records a projection through an adapted matrix that knows its own gradients: of its operands only x is kept. */
export function recordAdapted(recorder: Recorder, inputs: Projection, passes: AdaptedPasses): Tensor {
  const { x, weight, residual } = inputs;
  const y = recorder.allocate("adapted", [x.shape[0], weight.shape[0]]);
  passes.forward(recorder.run, inputs, y);
  recorder.record({
    name: "adapted linear",
    trains: true,
    inputs: residual === undefined ? [x] : [x, residual],
    outputs: [y],
    saves: () => [x],
    backward: (run, [dy], [dx, dResidual]) => {
      if (dy === undefined) return;
      passes.backward(run, { x, dy, dx });
      if (dResidual !== undefined) recordCopy(run, dy, dResidual);
    },
  });
  return y;
}

/**
 * The input of a module's adapter: x, or what dropout leaves of it, in memory that `free` gives back.
 * @param index the module's, see {@link Masks}
 */
export function adapterInput(
  run: Run,
  { index }: { readonly index: number },
  x: Tensor,
  masks: Masks,
): { readonly x: Tensor; free(): void } {
  if (masks === undefined) return { x, free: () => {} };
  const kept = run.allocate("dropped", x.shape);
  recordDropout(run, x, masks(index), kept);
  return { x: kept, free: () => run.release(kept) };
}

/**
 * Records what joins ∂loss/∂x: `record` adds the gradient of the adapter's input to what it is given, directly or
 * through the mask.
 */
export function addInputGradient(
  run: Run,
  { index }: { readonly index: number },
  dx: Tensor,
  masks: Masks,
  record: (target: Tensor, accumulate: boolean) => void,
): void {
  if (masks === undefined) {
    record(dx, true);
    return;
  }
  const whole = run.allocate("gradient before dropout", dx.shape);
  record(whole, false);
  recordDropout(run, whole, masks(index), dx, true);
  run.release(whole);
}
