import type { Linear } from "../../device/families/products.ts";
import { sliceRows, type Tensor } from "../../device/tensor.ts";
import { storedDtype } from "../../device/weight.ts";
import { GEMV_FLAGS, GEMV_MAX_ROWS, gemvKernel, gemvParameters, gemvTileCols } from "../../kernels/gemv.ts";
import { place, rowBlocks, type RowBlock, scalesOf, whole } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import { gemm } from "./gemm.ts";

/**
 * Rows of a batch up to which its passes take the vector path: its largest pass reads the weight twice, and a pass of one
 * row does not compute a whole tile of the matrix path.
 */
const FEW_ROWS = 2 * GEMV_MAX_ROWS;

/**
 * Up to GEMV_MAX_ROWS rows take the vector path, and all passes of a small batch. A weight above the binding limit is read
 * in blocks of rows.
 */
export function linear(on: Dispatcher, { rowsAtMost, ...operands }: Linear): void {
  const { x: a, weight: b, ...rest } = operands;
  const [rows] = a.shape;
  if (rowsAtMost === undefined ? rows > GEMV_MAX_ROWS : rowsAtMost > FEW_ROWS) {
    gemm(on, { order: "NT", a, b, ...rest });
    return;
  }
  for (let first = 0; first < rows; first += GEMV_MAX_ROWS) {
    const some = (tensor: Tensor) => sliceRows(tensor, first, Math.min(GEMV_MAX_ROWS, rows - first));
    const { x, y, residual } = operands;
    const part = { ...operands, x: some(x), y: some(y), residual: residual && some(residual) };
    for (const block of rowBlocks(on, b)) vector(on, part, block);
  }
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
