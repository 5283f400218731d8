import { recordGemm } from "../../../compute/tensor/gemm.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { sliceCols, type Tensor } from "../../../compute/tensor/tensor.ts";
import type { AdaptedMatrix, AdaptedPart } from "./adapted-matrix.ts";
import {
  adapterInput,
  addInputGradient,
  type LinearGradients,
  type LinearOperands,
  type Masks,
} from "../through-weights/adapted-linear.ts";
import { addBasisGradient, type AdapterContext } from "./context.ts";
import { recordIntoBasis, recordOutOfBasis, recordScaledA } from "./products.ts";

// PEFT's own order: y = xWᵀ + scale · (x·Ŝᵀ)·B̂ᵀ where out ≥ in, and xWᵀ + scale · (x·B̂)·Ŝ where out < in.

/** Records y of an adapted matrix. */
export function factoredForward(
  run: Run,
  context: AdapterContext,
  matrix: AdaptedMatrix,
  { x, bias, residual }: LinearOperands,
  y: Tensor,
  masks: Masks,
): void {
  // A token alone, as texts are written, takes a device's vector path.
  run.compute("linear", { x, weight: matrix.weight, bias, residual, scale: 1, y });
  addFactored(run, context, matrix, x, y, masks);
}

/** Records y += x ΔWᵀ. */
export function addFactored(
  run: Run,
  context: AdapterContext,
  { parts }: AdaptedMatrix,
  x: Tensor,
  y: Tensor,
  masks: Masks,
): void {
  for (const part of parts) {
    const input = adapterInput(run, part, x, masks);
    const columns = sliceCols(y, part.first, part.shape.out);
    const scaledA = recordScaledA(run, context, part);
    const inner = run.allocate("inner product", [x.shape[0], part.shape.terms]);
    if (part.shape.tall) {
      const bare = { bias: undefined, residual: undefined, scale: 1 };
      run.compute("linear", { x: input.x, weight: scaledA, ...bare, y: inner });
      recordOutOfBasis(run, context, part, inner, columns, true);
    } else {
      recordIntoBasis(run, context, part, input.x, inner);
      const scale = context.scale * context.bases.unit;
      recordGemm(run, { order: "NN", a: inner, b: scaledA, y: columns, scale, accumulate: true });
    }
    run.release(inner);
    input.free();
  }
}

/** Records ∂loss/∂x, and adds to the gradients of λ and γ. */
export function factoredBackward(
  run: Run,
  context: AdapterContext,
  matrix: AdaptedMatrix,
  gradients: LinearGradients,
  masks: Masks,
): void {
  const { dy, dx } = gradients;
  if (dx !== undefined) recordGemm(run, { order: "NN", a: dy, b: matrix.weight, y: dx });
  addFactoredBackward(run, context, matrix, gradients, masks);
}

/** Records what ΔW adds to ∂loss/∂x, and adds to the gradients of λ and γ. */
export function addFactoredBackward(
  run: Run,
  context: AdapterContext,
  { parts }: AdaptedMatrix,
  { x, dy, dx }: LinearGradients,
  masks: Masks,
): void {
  for (const part of parts) {
    const input = adapterInput(run, part, x, masks);
    const columns = sliceCols(dy, part.first, part.shape.out);
    const h = run.allocate("H", [x.shape[0], part.shape.terms]);
    recordIntoBasis(run, context, part, part.shape.tall ? columns : input.x, h);
    addBasisGradient(run, context, part, h, part.shape.tall ? input.x : columns);
    if (dx !== undefined) {
      addInputGradient(run, part, dx, masks, (target, accumulate) =>
        recordInputGradient(run, context, part, { h, dy: columns }, target, accumulate),
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
  part: AdaptedPart,
  { h, dy }: { readonly h: Tensor; readonly dy: Tensor },
  target: Tensor,
  accumulate: boolean,
): void {
  const scaledA = recordScaledA(run, context, part);
  if (part.shape.tall) {
    const scale = context.scale * context.bases.unit;
    recordGemm(run, { order: "NN", a: h, b: scaledA, y: target, scale, accumulate });
    return;
  }
  const inner = run.allocate("inner product", h.shape);
  recordGemm(run, { order: "NT", a: dy, b: scaledA, y: inner });
  recordOutOfBasis(run, context, part, inner, target, accumulate);
  run.release(inner);
}
