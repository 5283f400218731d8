import { DTYPE_CODES, type KernelDtype } from "../../device/dtype.ts";
import {
  MAGNITUDE,
  type ColumnSquares,
  type Magnitudes,
  type Rescale,
  type RowSquares,
} from "../../device/families/magnitude.ts";
import { sliceRows } from "../../device/tensor.ts";
import { storedDtype } from "../../device/weight.ts";
import {
  MAGNITUDE_KERNEL,
  MAGNITUDE_WIDTH,
  RESCALE_FLAGS,
  RESCALE_WIDTH,
  rescaleKernel,
} from "../kernels/magnitude.ts";
import {
  COLUMN_SQUARES_WIDTH,
  columnSquaresKernel,
  rowSquaresKernel,
  SQUARES_FLAGS,
} from "../kernels/weight-squares.ts";
import { bind, rowBlocks, scalesOf } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import type { KernelSource } from "../pipelines.ts";

/** Rows of one dispatch at most: a workgroup each. */
const MOST_SQUARED_ROWS = 65_535;

/** Those of a weight of this dtype. */
export function magnitudeKernels({ dtype }: { readonly dtype: KernelDtype }): KernelSource[] {
  return [rowSquaresKernel(dtype), columnSquaresKernel(dtype), rescaleKernel(dtype), MAGNITUDE_KERNEL];
}

/** Matrices above the binding limit are taken in blocks of rows. */
export function rowSquares(on: Dispatcher, { weight, delta, sums }: RowSquares): void {
  const [rows] = weight.shape;
  const fitting = [weight, delta].map((one) => (one === undefined ? rows : (rowBlocks(on, one)[0]?.rows ?? rows)));
  const step = Math.min(MOST_SQUARED_ROWS, ...fitting);
  const kernel = rowSquaresKernel(storedDtype("norms", weight));
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const part = {
      weight: sliceRows(weight, first, count),
      delta: delta && sliceRows(delta, first, count),
      sums: { ...sums, offset: sums.offset + first },
    };
    const { parameters, buffers } = squaresOf(on, part, 0);
    on.dispatch(kernel, parameters, buffers, [count]);
  }
}

export function columnSquares(on: Dispatcher, { accumulate, ...operands }: ColumnSquares): void {
  const { weight } = operands;
  const { parameters, buffers } = squaresOf(on, operands, accumulate ? SQUARES_FLAGS.accumulate : 0);
  const groups = Math.ceil(weight.shape[1] / 4 / COLUMN_SQUARES_WIDTH);
  on.dispatch(columnSquaresKernel(storedDtype("norms", weight)), parameters, buffers, [groups]);
}

function squaresOf(on: Dispatcher, { weight, delta, sums }: RowSquares, flags: number) {
  const [rows, cols] = weight.shape;
  const [w, to] = [bind(on, weight), bind(on, sums)];
  const scales = scalesOf(on, weight, w);
  const d = delta && { ...bind(on, delta), pitch: delta.pitch };
  return {
    parameters: {
      rows,
      cols,
      flags: flags | (d === undefined ? 0 : SQUARES_FLAGS.hasDelta),
      w,
      delta: d,
      sumsAt: to.offset,
      scalesAt: scales.at,
    },
    buffers: [w, d, to, ...scales.bindings],
  };
}

export function magnitudes(on: Dispatcher, { kind, sums, from, to, dtype }: Magnitudes): void {
  const [, count] = to.shape;
  const [s, t] = [bind(on, sums), bind(on, to)];
  const f = from && bind(on, from);
  on.dispatch(
    MAGNITUDE_KERNEL,
    {
      kind: MAGNITUDE[kind],
      count,
      sumsAt: s.offset,
      fromAt: f?.offset ?? 0,
      toAt: t.offset,
      dtype: DTYPE_CODES[dtype],
    },
    [s, f, t],
    [Math.ceil(count / MAGNITUDE_WIDTH)],
  );
}

export function rescale(on: Dispatcher, { weight, delta, factors, columns, target }: Rescale): void {
  const [rows, cols] = weight.shape;
  const width = Math.ceil(cols / 4);
  const rowsY = Math.min(rows, on.gpu.limits.maxComputeWorkgroupsPerDimension);
  const c = bind(on, factors);
  const scales = scalesOf(on, weight, { first: 0, offset: 0 });
  on.dispatch(
    rescaleKernel(storedDtype("magnitudes", weight)),
    {
      width,
      rows,
      flags: (columns ? RESCALE_FLAGS.columns : 0) | (delta === undefined ? 0 : RESCALE_FLAGS.hasDelta),
      w: weight,
      pitch: target.pitch,
      factorsAt: c.offset,
      rowsY,
      scalesAt: scales.at,
    },
    [weight, delta, c, target, ...scales.bindings],
    [Math.ceil(width / RESCALE_WIDTH), rowsY, Math.ceil(rows / rowsY)],
  );
}
