import type { Gpu } from "../../gpu/gpu.ts";
import type { GpuBuffer } from "../../gpu/memory.ts";
import type { KernelSource } from "../../gpu/pipelines.ts";
import type { Binding, Workgroups } from "../../gpu/stream.ts";
import { DTYPE_CODES, type KernelDtype } from "../../kernels/dtype.ts";
import {
  MAGNITUDE,
  MAGNITUDE_KERNEL,
  MAGNITUDE_WIDTH,
  magnitudeParameters,
  RESCALE_FLAGS,
  RESCALE_WIDTH,
  rescaleKernel,
  rescaleParameters,
} from "../../kernels/magnitude.ts";
import type { Staging } from "../../kernels/staging.ts";
import {
  COLUMN_SQUARES_WIDTH,
  columnSquaresKernel,
  rowSquaresKernel,
  SQUARES_FLAGS,
  weightSquaresParameters,
} from "../../kernels/weight-squares.ts";

/** One dispatch, for a `Run` or, compiled, for a `Stream`. */
export interface Dispatch {
  readonly source: KernelSource;
  readonly parameters: Uint32Array<ArrayBuffer>;
  readonly buffers: readonly Binding[];
  readonly workgroups: Workgroups;
}

/** Rows of a matrix where they are bound: elements before the first one, and from row to row. */
export interface BoundRows {
  readonly binding: Binding;
  readonly at: number;
  readonly pitch: number;
}

/** Numbers in a row: `at` elements before the first one. */
export interface BoundVector {
  readonly binding: Binding;
  readonly at: number;
}

/** What is squared and summed. */
export interface Squares {
  readonly rows: number;
  readonly cols: number;
  /** W, stored as `dtype`. */
  readonly weight: BoundRows & { readonly dtype: KernelDtype };
  /** Δ in f32; undefined: W alone. */
  readonly delta: BoundRows | undefined;
  readonly sums: BoundVector;
  /** Stands in for what is not read. */
  readonly nothing: Binding;
}

/** Rows of one dispatch at most: a workgroup each. */
export const MOST_SQUARED_ROWS = 65_535;

/** sums[row] = Σ_col (W + Δ)². */
export function rowSquares(staging: Staging, squares: Squares): Dispatch {
  const { rows, weight } = squares;
  return { source: rowSquaresKernel(staging, weight.dtype), ...squaresOf(squares, 0), workgroups: [rows] };
}

/** sums[col] = Σ_row (W + Δ)², or added to what is there. */
export function columnSquares(squares: Squares, accumulate: boolean): Dispatch {
  const { cols, weight } = squares;
  const groups = Math.ceil(cols / 4 / COLUMN_SQUARES_WIDTH);
  const operands = squaresOf(squares, accumulate ? SQUARES_FLAGS.accumulate : 0);
  return { source: columnSquaresKernel(weight.dtype), ...operands, workgroups: [groups] };
}

function squaresOf({ rows, cols, weight, delta, sums, nothing }: Squares, flags: number) {
  return {
    parameters: weightSquaresParameters({
      rows,
      cols,
      flags: flags | (delta === undefined ? 0 : SQUARES_FLAGS.hasDelta),
      w: [weight.at / 4, weight.pitch / 4],
      delta: delta === undefined ? [0, 0] : [delta.at / 4, delta.pitch / 4],
      sumsAt: sums.at,
    }),
    buffers: [weight.binding, delta?.binding ?? nothing, sums.binding],
  };
}

/** to = from / √sums (`factor`), to += from / √sums and from = 0 (`gradient`), or to = √sums rounded (`norm`). */
export function magnitudes(
  kind: keyof typeof MAGNITUDE,
  count: number,
  sums: BoundVector,
  from: BoundVector,
  to: BoundVector,
  dtype: KernelDtype = "F32",
): Dispatch {
  return {
    source: MAGNITUDE_KERNEL,
    parameters: magnitudeParameters({
      kind: MAGNITUDE[kind],
      count,
      sumsAt: sums.at,
      fromAt: from.at,
      toAt: to.at,
      dtype: DTYPE_CODES[dtype],
    }),
    buffers: [sums.binding, from.binding, to.binding],
    workgroups: [Math.ceil(count / MAGNITUDE_WIDTH)],
  };
}

/** Rows of W that ΔW rescales. */
export interface Rescaling {
  readonly rows: number;
  readonly cols: number;
  /** Of all matrices, in elements. */
  readonly pitch: number;
  readonly weight: { readonly buffer: GpuBuffer; readonly dtype: KernelDtype };
  /** Δ where `target` does not hold it. */
  readonly delta: GpuBuffer | undefined;
  /** c of the first row; of the first column where `columns`. */
  readonly factors: BoundVector;
  readonly columns: boolean;
  readonly target: GpuBuffer;
  readonly nothing: Binding;
}

/** target = c · (W + target + Δ) − W. */
export function rescaling(gpu: Gpu, of: Rescaling): Dispatch {
  const { rows, cols, pitch, weight, delta, factors, columns, target, nothing } = of;
  const width = Math.ceil(cols / 4);
  const rowsY = Math.min(rows, gpu.limits.maxComputeWorkgroupsPerDimension);
  const flags = (columns ? RESCALE_FLAGS.columns : 0) | (delta === undefined ? 0 : RESCALE_FLAGS.hasDelta);
  return {
    source: rescaleKernel(weight.dtype),
    parameters: rescaleParameters({
      width,
      rows,
      flags,
      wPitch: pitch / 4,
      pitch: pitch / 4,
      factorsAt: factors.at,
      rowsY,
    }),
    buffers: [weight.buffer, delta ?? nothing, factors.binding, target],
    workgroups: [Math.ceil(width / RESCALE_WIDTH), rowsY, Math.ceil(rows / rowsY)],
  };
}
