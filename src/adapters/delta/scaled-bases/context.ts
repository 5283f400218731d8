import type { TernaryRows } from "../../../compute/device/ternary-rows.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import type { AdaptedPart } from "./adapted-matrix.ts";
import type { TrainingBases } from "./training-bases.ts";
import type { Scratch } from "../through-weights/scratch.ts";
import type { WorkspaceRole } from "./workspace.ts";

/** What all adapted matrices share. */
export interface AdapterContext {
  readonly bases: TrainingBases;
  readonly workspace: Scratch<WorkspaceRole>;
  /** α/r. */
  readonly scale: number;
  /** W and ΔW are multiplied with apart, whether something is dropped in a pass or not. */
  readonly dropout: boolean;
}

/** Records dλ += …, dγ += … of a part from P and Q, where P holds `unit`s. */
export function addBasisGradient(
  run: Run,
  { bases, workspace, scale }: AdapterContext,
  { module, shape }: AdaptedPart,
  left: Tensor | TernaryRows,
  right: Tensor,
): void {
  const { lambda, gamma, lambdaGradient, gammaGradient } = module;
  run.compute("basisGradient", {
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
