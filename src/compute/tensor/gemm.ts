import type { Gemm } from "../device/families/products.ts";
import { requireShapes } from "./op.ts";
import type { Run } from "./run.ts";

export type { Gemm } from "../device/families/products.ts";

/**
 * Records a product of matrices.
 * @throws RandloraError `model` when the shapes do not fit
 */
export function recordGemm(run: Run, gemm: Gemm): void {
  const { order, a, b, y, bias, residual } = gemm;
  const [rows, cols] = y.shape;
  const [aRows, aTerms] = order === "TN" ? [a.shape[1], a.shape[0]] : a.shape;
  const [bCols, bTerms] = order === "NT" ? b.shape : [b.shape[1], b.shape[0]];
  const fits =
    aRows === rows &&
    bCols === cols &&
    aTerms === bTerms &&
    (bias === undefined || (bias.shape[0] === 1 && bias.shape[1] === cols)) &&
    (residual === undefined || (residual.shape[0] === rows && residual.shape[1] === cols));
  const shapes = { a: a.shape, b: b.shape, bias: bias?.shape, residual: residual?.shape, y: y.shape };
  requireShapes(`gemm ${order}`, shapes, fits, "these cannot be multiplied and added");
  run.compute("gemm", gemm);
}
