import type { GroupedGemm } from "../../device/families/experts.ts";
import { elementBytes, sliceRows, type Tensor } from "../../device/tensor.ts";
import { storedDtype } from "../../device/weight.ts";
import { bind, rowBlocks, scalesOf } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import { GROUPED_GEMV_COLS, groupedGemmKernel, groupedGemvKernel } from "../kernels/grouped-gemm.ts";
import { PRODUCT_TILE } from "../kernels/product.ts";
import { rowsOfWork } from "../work.ts";

/** Rows up to which each reads the matrix of its group for itself: of one pass, and of a batch whose passes may have few (8 experts, 32 slots). */
const FEW_ROWS = { pass: 64, batch: 256 };

/** Groups whose matrices are bound together. */
interface Groups {
  readonly first: number;
  readonly count: number;
  /** Their matrices, one below the other. */
  readonly matrices: Tensor;
}

export function groupedGemm(on: Dispatcher, operands: GroupedGemm): void {
  const { order, a, b, y, begins, rowsAtMost } = operands;
  const groups = begins.shape[1] - 1;
  if (order === "TN") {
    for (const part of groupsOf(on, y, groups)) sums(on, operands, part);
    return;
  }
  const isFew = rowsAtMost === undefined ? a.shape[0] <= FEW_ROWS.pass : rowsAtMost <= FEW_ROWS.batch;
  const record = order === "NT" && isFew ? vectors : products;
  for (const part of groupsOf(on, b, groups)) record(on, operands, part);
}

/** Groups in parts whose matrices fit into a binding. */
function groupsOf(on: Dispatcher, matrices: Tensor, groups: number): Groups[] {
  const rows = matrices.shape[0] / groups;
  const limit = on.gpu.limits.maxStorageBufferBindingSize - on.gpu.limits.minStorageBufferOffsetAlignment;
  const most =
    rowBlocks(on, matrices).length === 1
      ? groups
      : Math.max(1, Math.floor(limit / (rows * matrices.pitch * elementBytes(matrices.dtype))));
  const parts: Groups[] = [];
  for (let first = 0; first < groups; first += most) {
    const count = Math.min(most, groups - first);
    parts.push({ first, count, matrices: sliceRows(matrices, first * rows, count * rows) });
  }
  return parts;
}

/** Few rows: each reads its matrix. */
function vectors(on: Dispatcher, { a: x, y, begins }: GroupedGemm, { first, count, matrices }: Groups): void {
  const [rows, terms] = x.shape;
  const dtype = storedDtype("grouped linear", matrices);
  const block = bind(on, matrices);
  const inVector = dtype === "F32" ? 4 : 8;
  const scales = scalesOf(on, matrices, block);
  const [, cols] = y.shape;
  const tiles = Math.ceil(cols / GROUPED_GEMV_COLS);
  const workgroupsY = Math.min(tiles, on.gpu.limits.maxComputeWorkgroupsPerDimension);
  on.dispatch(
    groupedGemvKernel(dtype),
    {
      cols,
      terms: Math.ceil(terms / 8),
      xWidth: Math.ceil(terms / 4),
      x,
      w: [block.offset / inVector, matrices.pitch / inVector],
      y,
      beginsAt: begins.offset + first,
      groups: count,
      workgroupsY,
      scalesAt: scales.at,
    },
    [x, block, begins, y, ...scales.bindings],
    [rows, workgroupsY, Math.ceil(tiles / workgroupsY)],
    2 * rows * cols * terms,
  );
}

/** Tiles of all groups' rows, for the least favorable way to divide them. */
function products(on: Dispatcher, operands: GroupedGemm, groups: Groups): void {
  const [rows, terms] = operands.a.shape;
  const [, cols] = operands.y.shape;
  const filled = Math.min(groups.count, rows);
  const tiles = Math.floor((rows + filled * (PRODUCT_TILE.rows - 1)) / PRODUCT_TILE.rows);
  dispatchTiles(on, operands, { rows, terms, tiles, z: 1, workPerRow: 2 * cols * terms }, operands.b, groups);
}

/** Sums over each group's rows, added to y. */
function sums(on: Dispatcher, operands: GroupedGemm, groups: Groups): void {
  const [terms, rows] = operands.a.shape;
  const [, cols] = operands.y.shape;
  const tiles = Math.ceil(rows / PRODUCT_TILE.rows);
  dispatchTiles(
    on,
    operands,
    { rows, terms, tiles, z: groups.count, workPerRow: 2 * cols * terms },
    operands.y,
    groups,
  );
}

interface Tiles {
  readonly rows: number;
  readonly terms: number;
  readonly tiles: number;
  readonly z: number;
  readonly workPerRow: number;
}

/** @param grouped which of the operands has a matrix of each group */
function dispatchTiles(
  on: Dispatcher,
  { order, a, b, y, begins }: GroupedGemm,
  { rows, terms, tiles, z, workPerRow }: Tiles,
  grouped: Tensor,
  { first, count, matrices }: Groups,
): void {
  const [, cols] = y.shape;
  const right = bind(on, grouped === b ? matrices : b);
  const to = bind(on, grouped === y ? matrices : y);
  const scales = scalesOf(on, grouped === b ? matrices : b, right);
  const step = rowsOfWork(workPerRow, PRODUCT_TILE.rows) / PRODUCT_TILE.rows;
  for (let firstTile = 0; firstTile < tiles; firstTile += step) {
    const some = Math.min(step, tiles - firstTile);
    on.dispatch(
      groupedGemmKernel(order, storedDtype("grouped product", b)),
      {
        rows,
        cols,
        terms,
        a,
        b: right,
        y: to,
        beginsAt: begins.offset + first,
        groups: count,
        firstTile,
        scalesAt: scales.at,
      },
      [a, right, begins, to, ...scales.bindings],
      [Math.ceil(cols / PRODUCT_TILE.cols), some, z],
      workPerRow * Math.min(rows, some * PRODUCT_TILE.rows),
    );
  }
}
