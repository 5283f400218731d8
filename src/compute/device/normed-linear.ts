import { add } from "../rows/arithmetic.ts";
import { gatedActivation } from "../rows/gates.ts";
import { rmsNorm } from "../rows/norms.ts";
import type { Families } from "./families.ts";
import type { NormedLinear } from "./families/products.ts";
import type { RunMemory } from "./run-memory.ts";
import { giveScratch, takeScratch } from "./scratch.ts";
import { sliceCols, type Tensor } from "./tensor.ts";

/** The families of a device that a normed linear layer consists of. */
type Parts<D> = { readonly [F in "elementwise" | "linear"]: (on: D, operands: Families[F]) => void };

/** What a normed linear layer is, step by step: for operands that a device has no one command for. */
export function normedInCommands<D extends { readonly memory: RunMemory }>(
  on: D,
  { elementwise, linear }: Parts<D>,
  { rowsAtMost, x, norm, weight, bias, gate, y }: NormedLinear,
): void {
  const { branch, offset, epsilon } = norm;
  const normed = takeScratch(on, "normed", x.shape);
  const normalize = (of: Tensor, weight: Tensor) =>
    elementwise(on, { kernel: rmsNorm.kernel(), tensors: { x: of, weight, y: normed }, numbers: { offset, epsilon } });
  if (branch !== undefined) {
    normalize(branch.x, branch.weight);
    elementwise(on, { kernel: add.kernel(), tensors: { a: x, b: normed, y: branch.sum } });
  }
  normalize(branch?.sum ?? x, norm.weight);
  const product = gate === undefined ? y : takeScratch(on, "gate and up", [x.shape[0], weight.shape[0]]);
  linear(on, { rowsAtMost, x: normed, weight, bias, residual: undefined, scale: 1, y: product });
  giveScratch(on, normed);
  if (gate === undefined) return;
  const [, size] = y.shape;
  const tensors = { gate: sliceCols(product, 0, size), up: sliceCols(product, size, size), y };
  elementwise(on, { kernel: gatedActivation.kernel(gate), tensors });
  giveScratch(on, product);
}
