import type { TernaryRows } from "../../../compute/device/ternary-rows.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { partCols, pitchOf, sliceCols, type Tensor, tensorIn } from "../../../compute/tensor/tensor.ts";
import type { Masks } from "../../method/training.ts";
import {
  adapterInput,
  addInputGradient,
  type LinearGradients,
  type LinearOperands,
} from "../through-weights/adapted-linear.ts";
import {
  type FusedPart,
  type FusedShape,
  type AdaptedModule,
  type Scratch,
  scratchBytes,
} from "../through-weights/held.ts";
import type { BilinearShape, OrderPlan } from "./shape.ts";
import type { TrainingBases } from "./training-bases.ts";

/**
 * One module under training: where its weight lies, its parameters and where their gradients are summed. All are F32 with
 * rows padded to whole vectors, and may be views of larger buffers at multiples of 64 elements.
 */
export interface TrainedModule extends Omit<AdaptedModule, "form" | "fold" | "index"> {
  readonly shape: BilinearShape;
  /** λ (r, n). */
  readonly lambda: Tensor;
  /** γ (n, cols). */
  readonly gamma: Tensor;
  /** ∂loss/∂λ, which every micro-batch is added to. */
  readonly lambdaGradient: Tensor;
  /** ∂loss/∂γ, which every micro-batch is added to. */
  readonly gammaGradient: Tensor;
}

/** What all modules share. */
export interface AdapterContext {
  readonly bases: TrainingBases;
  readonly workspace: Scratch<WorkspaceRole>;
  /** α/r. */
  readonly scale: number;
}

/** Adapted rows of a matrix. */
type Parts = readonly FusedPart<TrainedModule & { readonly index: number }>[];

// PEFT's own order: y = xWᵀ + scale · (x·Ŝᵀ)·B̂ᵀ where out ≥ in, and xWᵀ + scale · (x·B̂)·Ŝ where out < in.

/** Records y += x ΔWᵀ. */
export function addFactored(
  run: Run,
  context: AdapterContext,
  parts: Parts,
  { x, rowsAtMost }: Pick<LinearOperands, "x" | "rowsAtMost">,
  y: Tensor,
  masks: Masks,
): void {
  for (const { module, first } of parts) {
    const { shape } = module;
    const input = adapterInput(run, module, x, masks);
    const columns = partCols(y, first, shape.out);
    const scaledA = recordScaledA(run, context, module);
    const inner = run.allocate("inner product", [x.shape[0], shape.terms]);
    if (shape.tall) {
      const bare = { bias: undefined, residual: undefined, scale: 1, rowsAtMost };
      run.compute("linear", { x: input.x, weight: scaledA, ...bare, y: inner });
      recordOutOfBasis(run, context, shape, inner, columns, true);
    } else {
      recordIntoBasis(run, context, shape, input.x, inner);
      const scale = context.scale * context.bases.unit;
      recordGemm(run, { order: "NN", a: inner, b: scaledA, y: columns, scale, accumulate: true });
    }
    run.release(inner);
    input.free();
  }
}

/** Records what ΔW adds to ∂loss/∂x, and adds to the gradients of λ and γ. */
export function addFactoredBackward(
  run: Run,
  context: AdapterContext,
  parts: Parts,
  { x, dy, dx }: LinearGradients,
  masks: Masks,
): void {
  for (const { module, first } of parts) {
    const { shape } = module;
    const input = adapterInput(run, module, x, masks);
    const columns = partCols(dy, first, shape.out);
    const h = run.allocate("H", [x.shape[0], shape.terms]);
    recordIntoBasis(run, context, shape, shape.tall ? columns : input.x, h);
    addBasisGradient(run, context, module, h, shape.tall ? input.x : columns);
    if (dx !== undefined) {
      addInputGradient(run, module, dx, masks, (target, accumulate) =>
        recordInputGradient(run, context, module, { h, dy: columns }, target, accumulate),
      );
    }
    run.release(h);
    input.free();
  }
}

/** target (+)= ∂loss/∂(the adapter's input): scale · H·Ŝ where out ≥ in, else scale · (dy·Ŝᵀ)·B̂ᵀ. */
function recordInputGradient(
  run: Run,
  context: AdapterContext,
  module: TrainedModule,
  { h, dy }: { readonly h: Tensor; readonly dy: Tensor },
  target: Tensor,
  accumulate: boolean,
): void {
  const scaledA = recordScaledA(run, context, module);
  if (module.shape.tall) {
    const scale = context.scale * context.bases.unit;
    recordGemm(run, { order: "NN", a: h, b: scaledA, y: target, scale, accumulate });
    return;
  }
  const inner = run.allocate("inner product", h.shape);
  recordGemm(run, { order: "NT", a: dy, b: scaledA, y: inner });
  recordOutOfBasis(run, context, module.shape, inner, target, accumulate);
  run.release(inner);
}

/** Records h = big·B̂ in units of B̂: big (tokens, M), h (tokens, n·r). */
export function recordIntoBasis(
  run: Run,
  { bases, workspace }: AdapterContext,
  shape: BilinearShape,
  big: Tensor,
  h: Tensor,
): void {
  for (const { first, operand: b } of bases.operands(run, shape, workspace.find("panel"))) {
    recordGemm(run, { order: "NN", a: sliceCols(big, first, b.shape[0]), b, y: h, accumulate: first > 0 });
  }
}

/** Records y (+)= scale · h·B̂ᵀ in true values: h (tokens, n·r), y (tokens, M). */
export function recordOutOfBasis(
  run: Run,
  { bases, workspace, scale }: AdapterContext,
  shape: BilinearShape,
  h: Tensor,
  y: Tensor,
  accumulate: boolean,
): void {
  for (const { first, operand: b } of bases.operands(run, shape, workspace.find("panel"))) {
    const columns = sliceCols(y, first, b.shape[0]);
    recordGemm(run, { order: "NT", a: h, b, y: columns, scale: scale * bases.unit, accumulate });
  }
}

/** Records Ŝ (n·r, m) into scratch: λ[k, j]·A[k]⊙γ[j] in the row that meets B̂'s column. */
function recordScaledA(
  run: Run,
  { bases, workspace }: AdapterContext,
  { shape, lambda, gamma }: TrainedModule,
): Tensor {
  const { terms, cols } = shape;
  const target = workspace.get("scaledA");
  run.compute("scaledA", { pairing: bases.pairing, terms, cols, a: bases.a, lambda, gamma, target });
  return tensorIn(target, [terms, cols], "F32");
}

/** Records dλ += …, dγ += … of a module from P and Q, where P holds `unit`s. */
export function addBasisGradient(
  run: Run,
  { bases, workspace, scale }: AdapterContext,
  { shape, lambda, gamma, lambdaGradient, gammaGradient }: TrainedModule,
  left: Tensor | TernaryRows,
  right: Tensor,
): void {
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
interface WorkspaceSizes {
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
