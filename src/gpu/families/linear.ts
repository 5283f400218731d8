import type { Linear } from "../../device/families/products.ts";
import type { Tensor } from "../../device/tensor.ts";
import { storedDtype } from "../../device/weight.ts";
import { GEMV_FLAGS, GEMV_MAX_ROWS, gemvKernel, gemvParameters, gemvTileCols } from "../../kernels/gemv.ts";
import { place, rowBlocks, type RowBlock, scalesOf, whole } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import { gemm } from "./gemm.ts";

/** Up to GEMV_MAX_ROWS rows take the vector path. A weight above the binding limit is read in blocks of rows. */
export function linear(on: Dispatcher, operands: Linear): void {
  const { x: a, weight: b, ...rest } = operands;
  if (a.shape[0] > GEMV_MAX_ROWS) gemm(on, { order: "NT", a, b, ...rest });
  else for (const block of rowBlocks(on, b)) vector(on, operands, block);
}

/** A few rows of x times a block of W. */
function vector(on: Dispatcher, { x, weight, bias, residual, scale, y }: Linear, block: RowBlock): void {
  const [rows, terms] = x.shape;
  const dtype = storedDtype("linear", weight);
  const inVector = dtype === "F32" ? 4 : 8;
  const scales = scalesOf(on, weight, block);
  const groups = Math.ceil(block.rows / gemvTileCols(on.staging));
  const groupsX = Math.min(groups, on.gpu.limits.maxComputeWorkgroupsPerDimension);
  const optional = (tensor: Tensor | undefined) => (tensor === undefined ? on.nothing : whole(on, tensor));
  on.dispatch(
    gemvKernel(on.staging, dtype, rows),
    gemvParameters({
      cols: block.rows,
      terms: Math.ceil(terms / 8),
      xWidth: Math.ceil(terms / 4),
      flags: (bias === undefined ? 0 : GEMV_FLAGS.hasBias) | (residual === undefined ? 0 : GEMV_FLAGS.hasResidual),
      x: place(x),
      w: [block.offset / inVector, weight.pitch / inVector],
      y: [(y.offset + block.first) / 4, y.pitch / 4],
      biasAt: ((bias?.offset ?? 0) + block.first) / 4,
      residual: [((residual?.offset ?? 0) + block.first) / 4, (residual?.pitch ?? 0) / 4],
      workgroupsX: groupsX,
      scale,
      scalesAt: scales.at,
    }),
    [whole(on, x), block.binding, optional(bias), optional(residual), whole(on, y), ...scales.bindings],
    [groupsX, Math.ceil(groups / groupsX)],
  );
}
