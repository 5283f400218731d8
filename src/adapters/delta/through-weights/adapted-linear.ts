import { recordZero } from "../../../compute/tensor/fill.ts";
import type { Recorder } from "../../../compute/tensor/recorder.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { type Shape, sliceCols, sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import type { GroupedProjection, Projection } from "../../../models/blocks/linears.ts";
import { type AdaptedModule, gradientShape, type HeldMatrix, type ProductsPlan } from "./held.ts";
import type { Masks } from "../../method/training.ts";
import { recordDropout } from "../../../compute/tensor/dropout.ts";
import { recordCopy } from "../../../compute/tensor/elementwise.ts";

/** How products with experts' W' are computed: some experts at a time. */
export interface AdaptedExperts {
  /** So many of them at a time. */
  readonly atOnce: number;
  /** W' of some rows of the matrix of all, held or formed now. */
  merged(run: Run, first: number, rows: number): Tensor;
  /** Where G of some experts goes; its content is undefined. */
  gradient(shape: Shape): Tensor;
}

/**
 * Records products of groups of rows, each with the matrix W' of its expert, which knows its own gradients: G of each expert is the
 * product of its own rows alone.
 */
export function recordAdaptedExperts<M extends AdaptedModule>(
  recorder: Recorder,
  { x, begins, rowsAtMost }: Pick<GroupedProjection, "x" | "begins" | "rowsAtMost">,
  { weight, parts }: Pick<HeldMatrix<M, ProductsPlan>, "weight" | "parts">,
  { atOnce, merged, gradient }: AdaptedExperts,
): Tensor {
  const count = begins.shape[1] - 1;
  const rows = weight.shape[0] / count;
  const some = Array.from({ length: Math.ceil(count / atOnce) }, (_, index) => {
    const first = index * atOnce;
    const experts = Math.min(atOnce, count - first);
    const own: Tensor = { ...begins, shape: [1, experts + 1], offset: begins.offset + first };
    return { first, experts, begins: own, merged: (run: Run) => merged(run, first * rows, experts * rows) };
  });
  const y = recorder.allocate("adapted", [x.shape[0], rows]);
  for (const part of some) {
    const b = part.merged(recorder.run);
    recorder.run.compute("groupedGemm", { order: "NT", a: x, b, begins: part.begins, rowsAtMost, y });
  }
  // The same module of each expert: its column of the product.
  const kinds = [...Map.groupBy(parts, ({ first }) => first % rows)];
  recorder.record({
    name: "adapted experts",
    trains: true,
    inputs: [x],
    outputs: [y],
    saves: () => [x, begins],
    backward: (run, [dy], [dx]) => {
      if (dy === undefined) return;
      for (const part of some) {
        if (dx !== undefined) {
          run.compute("groupedGemm", { order: "NN", a: dy, b: part.merged(run), begins: part.begins, y: dx });
        }
        for (const [column, own] of kinds) {
          const adapted = own.flatMap(({ module, first }) => {
            const expert = Math.floor(first / rows) - part.first;
            return expert >= 0 && expert < part.experts ? [{ module, expert }] : [];
          });
          const [one] = adapted;
          if (one === undefined) continue;
          const { shape } = one.module;
          const columns = sliceCols(dy, column, shape.out);
          const [height, width] = gradientShape(shape);
          const g = gradient([part.experts * height, width]);
          recordZero(run, g);
          const [a, b] = shape.tall === false ? [x, columns] : [columns, x];
          run.compute("groupedGemm", { order: "TN", a, b, begins: part.begins, y: g });
          for (const { module, expert } of adapted) module.fold(run, sliceRows(g, expert * height, height));
        }
      }
    },
  });
  return y;
}

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
interface AdaptedPasses {
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
