import { gateNumber } from "../../rows/gates.ts";
import type { Linear, NormedLinear } from "../../device/families/products.ts";
import { normedInCommands } from "../../device/normed-linear.ts";
import type { Tensor } from "../../device/tensor.ts";
import { storedDtype } from "../../device/weight.ts";
import { GEMV_FLAGS, GEMV_MAX_ROWS, gemvKernel, gemvTileCols } from "../kernels/gemv.ts";
import { rowBlocks, type RowBlock, scalesOf } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import { elementwise } from "./elementwise.ts";
import { rowsOfWork } from "../work.ts";
import { gemm } from "./gemm.ts";

/**
 * Rows of a batch up to which its passes take the vector path, whose arithmetic follows the rows that a pass has: those that share
 * rows of the weight find them in the GPU's cache, and the tiles of the matrix path would be as many as one of its own alone.
 */
const FEW_ROWS = 64;

/** Blocks of a matrix's rows are whole multiples of these. */
const BLOCK_ROWS = 32;

/** Do so many rows take the vector path? Up to GEMV_MAX_ROWS do, and all passes of a small batch. */
function takesVectors(rows: number, rowsAtMost: number | undefined): boolean {
  return rowsAtMost === undefined ? rows <= GEMV_MAX_ROWS : rowsAtMost <= FEW_ROWS;
}

/** A weight above the binding limit is read in blocks of rows. */
export function linear(on: Dispatcher, { rowsAtMost, ...operands }: Linear): void {
  const { x: a, weight: b, ...rest } = operands;
  if (!takesVectors(a.shape[0], rowsAtMost)) {
    gemm(on, { order: "NT", a, b, ...rest });
    return;
  }
  const [rows, terms] = a.shape;
  // No more work than one dispatch has.
  for (const block of rowBlocks(on, b, rowsOfWork(2 * rows * terms, BLOCK_ROWS))) vector(on, operands, block);
}

/**
 * On the vector path one command does it all. The halves of a gate are read together, so the weight must be one block; and
 * where a branch joins x, its operands take the binding of the bias.
 */
export function normedLinear(on: Dispatcher, operands: NormedLinear): void {
  const { rowsAtMost, x, norm, weight, bias, gate, y } = operands;
  const { branch } = norm;
  const blocks = rowBlocks(on, weight);
  const isWhole = gate === undefined || blocks.length === 1;
  if (!takesVectors(x.shape[0], rowsAtMost) || !isWhole || (branch !== undefined && bias !== undefined)) {
    normedInCommands(on, { elementwise, linear }, operands);
    return;
  }
  const product = { x, weight, bias, residual: undefined, scale: 1, y };
  for (const block of blocks) vector(on, product, block, { gate, norm });
}

/** A few rows of x, perhaps normalized first, times a block of W. */
function vector(
  on: Dispatcher,
  { x, weight, bias, residual, scale, y }: Linear,
  block: RowBlock,
  normed?: Pick<NormedLinear, "norm" | "gate">,
): void {
  const [rows, terms] = x.shape;
  const dtype = storedDtype("linear", weight);
  const inVector = dtype === "F32" ? 4 : 8;
  const scales = scalesOf(on, weight, block);
  const { norm, gate } = normed ?? {};
  const branch = norm?.branch;
  const gated = gate !== undefined;
  const cols = gated ? block.rows / 2 : block.rows;
  const tiles = Math.ceil(cols / gemvTileCols(gated));
  const workgroupsY = Math.min(tiles, on.gpu.limits.maxComputeWorkgroupsPerDimension);
  const groups = Math.ceil(rows / GEMV_MAX_ROWS);
  const from = ({ offset, pitch }: Tensor) => ({ offset: offset + block.first, pitch });
  const input = norm === undefined ? "plain" : branch === undefined ? "normed" : "joined";
  on.dispatch(
    gemvKernel(dtype, Math.ceil(rows / groups), { input, gated }),
    {
      rows,
      cols,
      terms: Math.ceil(terms / 8),
      xWidth: Math.ceil(terms / 4),
      flags: (bias === undefined ? 0 : GEMV_FLAGS.hasBias) | (residual === undefined ? 0 : GEMV_FLAGS.hasResidual),
      x,
      w: [block.offset / inVector, weight.pitch / inVector],
      y: from(y),
      biasAt: (bias?.offset ?? 0) + block.first,
      residual: residual && from(residual),
      workgroupsY,
      scale,
      scalesAt: scales.at,
      size: terms,
      offset: norm?.offset ?? 0,
      epsilon: norm?.epsilon ?? 0,
      gate: gate === undefined ? 0 : gateNumber(gate),
      weightAt: norm?.weight.offset ?? 0,
      branchWeightAt: branch?.weight.offset ?? 0,
      branch: branch?.x,
      sum: branch?.sum,
    },
    [
      x,
      block,
      branch?.x ?? bias,
      norm?.weight ?? residual,
      y,
      ...(branch === undefined ? [] : [branch.weight, branch.sum]),
      ...scales.bindings,
    ],
    [groups, workgroupsY, Math.ceil(tiles / workgroupsY)],
    2 * rows * block.rows * terms,
  );
}
