import { recordGemm } from "../../../compute/tensor/gemm.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { pitchOf, sliceCols, sliceRows, type Tensor, tensorIn } from "../../../compute/tensor/tensor.ts";
import type { AdaptedMatrix, AdaptedPart } from "./adapted-matrix.ts";
import {
  adapterInput,
  addInputGradient,
  type LinearGradients,
  type LinearOperands,
  type Masks,
} from "../through-weights/adapted-linear.ts";
import { addBasisGradient, type AdapterContext } from "./context.ts";
import { recordDelta, recordMerged } from "./delta-rows.ts";
import { recordIntoBasis } from "./products.ts";

/** Records y of an adapted matrix: xW'ᵀ, or xWᵀ + drop(x)·ΔWᵀ where dropout keeps the two apart. */
export function mergedForward(
  run: Run,
  context: AdapterContext,
  matrix: AdaptedMatrix,
  { x, bias, residual }: LinearOperands,
  y: Tensor,
  masks: Masks,
): void {
  if (!context.dropout) {
    recordGemm(run, { order: "NT", a: x, b: mergedWeight(run, context, matrix), y, bias, residual });
    return;
  }
  recordGemm(run, { order: "NT", a: x, b: matrix.weight, y, bias, residual });
  for (const part of matrix.parts) {
    const input = adapterInput(run, part, x, masks);
    const columns = sliceCols(y, part.first, part.shape.out);
    recordGemm(run, { order: "NT", a: input.x, b: deltaOf(run, context, part), y: columns, accumulate: true });
    input.free();
  }
}

/** Records ∂loss/∂x, and adds to the gradients of λ and γ, or to G where that is summed: see `finishMerged`. */
export function mergedBackward(
  run: Run,
  context: AdapterContext,
  matrix: AdaptedMatrix,
  gradients: LinearGradients,
  masks: Masks,
  isFirst: boolean,
): void {
  const { x, dy, dx } = gradients;
  if (dx !== undefined) {
    const weight = !context.dropout ? mergedWeight(run, context, matrix) : matrix.weight;
    recordGemm(run, { order: "NN", a: dy, b: weight, y: dx });
  }
  for (const part of matrix.parts) {
    const columns = sliceCols(dy, part.first, part.shape.out);
    if (dx !== undefined && context.dropout) {
      addInputGradient(run, part, dx, masks, (y, accumulate) =>
        recordGemm(run, { order: "NN", a: columns, b: deltaOf(run, context, part), y, accumulate }),
      );
    }
    const input = adapterInput(run, part, x, masks);
    const [big, small] = part.shape.tall ? [columns, input.x] : [input.x, columns];
    if (matrix.plan.order === "merged-g") {
      const { rows, cols } = part.shape;
      const g = part.product ?? tensorIn(context.workspace.get("product"), [rows, cols], "F32");
      const accumulate = part.product !== undefined && !isFirst;
      recordGemm(run, { order: "TN", a: big, b: small, y: g, accumulate });
      if (part.product === undefined) addProductGradient(run, context, part, g);
    } else {
      const h = run.allocate("H", [x.shape[0], part.shape.terms]);
      recordIntoBasis(run, context, part, big, h);
      addBasisGradient(run, context, part, h, small);
      run.release(h);
    }
    input.free();
  }
}

/** Forms W' (or ΔW) where it is held: once a step, before its first micro-batch. */
export function prepareMerged(run: Run, context: AdapterContext, matrix: AdaptedMatrix): void {
  if (matrix.merged !== undefined) recordMerged(run, context, matrix, matrix.merged);
  for (const part of matrix.parts) {
    if (part.delta !== undefined) recordDelta(run, context, part, part.delta, false);
  }
}

/** Adds what G, summed over the micro-batches, gives to the gradients of λ and γ. */
export function finishMerged(run: Run, context: AdapterContext, { parts }: AdaptedMatrix): void {
  for (const part of parts) {
    if (part.product !== undefined) addProductGradient(run, context, part, part.product);
  }
}

/** dŜ = scale · B̂ᵀ·G, block after block of B̂'s rows. */
function addProductGradient(run: Run, context: AdapterContext, part: AdaptedPart, g: Tensor): void {
  for (const { first, operand } of context.bases.operands(run, part.shape, context.workspace.find("panel"))) {
    addBasisGradient(run, context, part, operand, sliceRows(g, first, operand.shape[0]));
  }
}

/** W', held or formed now in scratch. */
function mergedWeight(run: Run, context: AdapterContext, matrix: AdaptedMatrix): Tensor {
  if (matrix.merged !== undefined) return matrix.merged;
  const { shape, pitch } = matrix.weight;
  const target: Tensor = { shape, dtype: "F32", buffer: context.workspace.get("merged"), offset: 0, pitch };
  recordMerged(run, context, matrix, target);
  return target;
}

/** ΔW of one module, held or formed now in scratch. */
function deltaOf(run: Run, context: AdapterContext, part: AdaptedPart): Tensor {
  if (part.delta !== undefined) return part.delta;
  const { out, in: input } = part.shape;
  const buffer = context.workspace.get("merged");
  const target: Tensor = { shape: [out, input], dtype: "F32", buffer, offset: 0, pitch: pitchOf(input, "F32") };
  recordDelta(run, context, part, target, false);
  return target;
}
