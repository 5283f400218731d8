import { pitchOf } from "../../../compute/tensor/tensor.ts";
import type { FusedShape } from "../through-weights/fused.ts";
import { scratchBytes } from "../through-weights/held.ts";
import type { OrderPlan } from "./flops.ts";
import type { BilinearShape } from "./shape.ts";

/** One matrix that the decoder multiplies with, and the modules that are adapted in it. */
export type MatrixShape = FusedShape<BilinearShape>;

/** How the GPU and the bases shape the scratch. */
export interface WorkspaceTerms {
  /** What the gradients of λ and γ are summed up in; see `Device.scratchBytes`. */
  partBytes(shape: BilinearShape): Pick<WorkspaceSizes, "lambdaParts" | "gammaParts">;
  /** y = xWᵀ + drop(x)·ΔWᵀ: ΔW of one module at a time is formed, not W'. */
  readonly dropout: boolean;
  /** Bytes to which a module's B̂ is unpacked; 0 where it is an operand as it lies. */
  panelBytes(shape: BilinearShape): number;
}

/** Bytes of each scratch buffer. */
export interface WorkspaceSizes {
  /** W' of a whole matrix, or ΔW of a module. */
  readonly merged: number;
  /** λ in the order of B̂'s columns. */
  readonly lambda: number;
  /** Ŝ. */
  readonly scaledA: number;
  /** Rows of B̂, unpacked to 16 bits. */
  readonly panel: number;
  /** G of one module. */
  readonly product: number;
  readonly lambdaParts: number;
  readonly gammaParts: number;
}

export type WorkspaceRole = keyof WorkspaceSizes;

/** What the orders of these matrices need beside what is kept for each of them. */
export function workspaceSizes(
  matrices: readonly MatrixShape[],
  plans: readonly OrderPlan[],
  terms: WorkspaceTerms,
): WorkspaceSizes {
  const sizes = {
    merged: 0,
    lambda: 0,
    scaledA: 0,
    panel: 0,
    product: 0,
    lambdaParts: 0,
    gammaParts: 0,
  };
  const need = (role: WorkspaceRole, bytes: number) => (sizes[role] = Math.max(sizes[role], bytes));
  matrices.forEach((matrix, index) => {
    const plan = plans[index];
    if (plan === undefined) throw new RangeError(`matrix ${index} without a plan`);
    const { order } = plan;
    const unheld = scratchBytes(matrix, plan, terms.dropout);
    if (order !== "factored") need("merged", unheld.merged);
    if (order === "merged-g") need("product", unheld.product);
    for (const shape of matrix.modules) {
      const { lambdaParts, gammaParts } = terms.partBytes(shape);
      need("lambdaParts", lambdaParts);
      need("gammaParts", gammaParts);
      need("panel", terms.panelBytes(shape));
      // ΔW is formed whatever the order, where somebody asks for it.
      need("lambda", Math.ceil(shape.terms / 16) * 64);
      if (order === "factored" && matrix.experts === undefined)
        need("scaledA", shape.terms * pitchOf(shape.cols, "F32") * 4);
    }
  });
  return sizes;
}
