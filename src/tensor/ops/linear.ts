import { gemmKernel, gemmTile, GEMV_MAX_ROWS, GEMV_TILE_COLS, gemvKernel, LINEAR_FLAGS } from "../../kernels/linear.ts";
import { uniform } from "../../kernels/parameters.ts";
import { at, defineOp, matrixOf, type Of, requireShapes } from "../op.ts";
import { rowBlocks, type RowBlock, type Run, whole } from "../run.ts";
import { elementBytes, type Tensor } from "../tensor.ts";
import { weightDtype } from "../weight.ts";

const ROLES = {
  inputs: { x: "needed", weight: "needed", bias: "optional", residual: "optional" },
  outputs: { y: "needed" },
} as const;

/**
 * y = x Wᵀ + bias + residual: x (rows, in) F32, W (out, in) as stored, bias (1, out), residual (rows, out). Up to
 * GEMV_MAX_ROWS rows take the vector path. A weight above the binding limit is read in blocks of rows.
 */
export const linear = defineOp(ROLES)<object>({
  name: "linear",
  shape({ x, weight, bias, residual }) {
    const fits =
      x[1] === weight[1] &&
      (bias === undefined || (bias[0] === 1 && bias[1] === weight[0])) &&
      (residual === undefined || (residual[0] === x[0] && residual[1] === weight[0]));
    requireShapes("linear", { x, weight, bias, residual }, fits, "x is rows×in, the weight out×in");
    return { y: { shape: [x[0], weight[0]] } };
  },
  forward(run, inputs, _, { y }) {
    const record = y.shape[0] <= GEMV_MAX_ROWS ? recordVector : recordMatrix;
    for (const block of rowBlocks(run, inputs.weight)) record(run, inputs, y, block);
  },
  reference({ x, weight, bias, residual }) {
    const [rows, terms] = x.shape;
    return {
      y: matrixOf(rows, weight.shape[0], (row, col) => {
        let sum = (bias === undefined ? 0 : at(bias, 0, col)) + (residual === undefined ? 0 : at(residual, row, col));
        for (let k = 0; k < terms; k++) sum += at(x, row, k) * at(weight, col, k);
        return sum;
      }),
    };
  },
});

type Inputs = Of<typeof ROLES.inputs, Tensor>;

/** What both paths take after the strides of x and W: where y, bias and residual of this block begin. */
function tail({ bias, residual }: Inputs, y: Tensor, { first }: RowBlock): readonly number[] {
  return [
    (y.offset + first) / 4,
    y.pitch / 4,
    ((bias?.offset ?? 0) + first) / 4,
    ((residual?.offset ?? 0) + first) / 4,
    (residual?.pitch ?? 0) / 4,
  ];
}

function flags({ bias, residual }: Inputs): number {
  return (bias === undefined ? 0 : LINEAR_FLAGS.hasBias) | (residual === undefined ? 0 : LINEAR_FLAGS.hasResidual);
}

function bindings(run: Run, { x, bias, residual }: Inputs, y: Tensor, block: RowBlock) {
  const optional = (tensor: Tensor | undefined) => (tensor === undefined ? run.nothing : whole(run, tensor));
  return [whole(run, x), block.binding, optional(bias), optional(residual), whole(run, y)];
}

function recordMatrix(run: Run, inputs: Inputs, y: Tensor, block: RowBlock): void {
  const { x, weight } = inputs;
  const [rows, terms] = x.shape;
  const tile = gemmTile(run.staging);
  run.dispatch(
    gemmKernel(run.staging, weightDtype("linear", weight)),
    uniform(
      rows,
      block.rows,
      Math.ceil(terms / 4),
      flags(inputs),
      x.offset / 4,
      x.pitch / 4,
      block.offset / 4,
      weight.pitch / 4,
      ...tail(inputs, y, block),
    ),
    bindings(run, inputs, y, block),
    [Math.ceil(block.rows / tile.cols), Math.ceil(rows / tile.rows)],
  );
}

function recordVector(run: Run, inputs: Inputs, y: Tensor, block: RowBlock): void {
  const { x, weight } = inputs;
  const [rows, terms] = x.shape;
  const inVector = 16 / elementBytes(weight.dtype);
  const groups = Math.ceil(block.rows / GEMV_TILE_COLS);
  const most = run.gpu.limits.maxComputeWorkgroupsPerDimension;
  const groupsX = Math.min(groups, most);
  run.dispatch(
    gemvKernel(run.staging, weightDtype("linear", weight), rows),
    uniform(
      block.rows,
      Math.ceil(terms / 8),
      Math.ceil(terms / 4),
      flags(inputs),
      x.offset / 4,
      x.pitch / 4,
      block.offset / inVector,
      weight.pitch / inVector,
      ...tail(inputs, y, block),
      groupsX,
    ),
    bindings(run, inputs, y, block),
    [groupsX, Math.ceil(groups / groupsX)],
  );
}
