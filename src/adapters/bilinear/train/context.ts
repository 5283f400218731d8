import type { DropoutMask } from "../../../random/dropout.ts";
import { recordDropout } from "../../../tensor/dropout.ts";
import type { Run } from "../../../tensor/run.ts";
import type { Tensor } from "../../../tensor/tensor.ts";
import type { AdaptedPart } from "./adapted-matrix.ts";
import { recordBasisGradient } from "./basis-gradient.ts";
import type { TrainingBases } from "./training-bases.ts";
import type { Workspace } from "./workspace.ts";

/** What all adapted matrices share. */
export interface AdapterContext {
  readonly bases: TrainingBases;
  readonly workspace: Workspace;
  /** α/r. */
  readonly scale: number;
  /** W and ΔW are multiplied with apart, whether something is dropped in a pass or not. */
  readonly dropout: boolean;
}

/** What is dropped of the input of each module's adapter (by its index) in one pass; undefined: nothing. */
export type Masks = ((module: number) => DropoutMask) | undefined;

/** A linear layer's operands, as the decoder gives them. */
export interface LinearOperands {
  /** (tokens, in) F32. */
  readonly x: Tensor;
  /** (1, out). */
  readonly bias: Tensor | undefined;
  /** (tokens, out) F32, added to y. */
  readonly residual: Tensor | undefined;
}

/** What the backward pass of a linear layer works on. */
export interface LinearGradients {
  readonly x: Tensor;
  /** ∂loss/∂y. */
  readonly dy: Tensor;
  /** Where ∂loss/∂x goes, assigned; undefined where nobody asks. */
  readonly dx: Tensor | undefined;
}

/**
 * The input of a part's adapter: x, or what dropout leaves of it, in memory that `free` gives back.
 */
export function adapterInput(
  run: Run,
  part: AdaptedPart,
  x: Tensor,
  masks: Masks,
): { readonly x: Tensor; free(): void } {
  if (masks === undefined) return { x, free: () => {} };
  const kept = run.allocate("dropped", x.shape);
  recordDropout(run, x, masks(part.index), kept);
  return { x: kept, free: () => run.release(kept) };
}

/**
 * Records what joins ∂loss/∂x: `record` adds the gradient of the adapter's input to what it is given, directly or
 * through the mask.
 */
export function addInputGradient(
  run: Run,
  part: AdaptedPart,
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
  recordDropout(run, whole, masks(part.index), dx, true);
  run.release(whole);
}

/** Records dλ += …, dγ += … of a part from P and Q, where P holds `unit`s. */
export function addBasisGradient(
  run: Run,
  { bases, workspace, scale }: AdapterContext,
  { module, shape }: AdaptedPart,
  left: Tensor,
  right: Tensor,
): void {
  const { lambda, gamma, lambdaGradient, gammaGradient } = module;
  recordBasisGradient(run, {
    shape,
    pairing: bases.pairing,
    left,
    right,
    scale: scale * bases.unit,
    a: bases.a,
    lambda,
    gamma,
    lambdaGradient,
    gammaGradient,
    lambdaParts: workspace.get("lambdaParts"),
    gammaParts: workspace.get("gammaParts"),
  });
}
