import type { Gpu } from "../../../gpu/gpu.ts";
import type { GpuBuffer } from "../../../gpu/memory.ts";
import { rowBlocks, bind } from "../../../tensor/row-blocks.ts";
import type { Run } from "../../../tensor/run.ts";
import { pitchOf, sliceRows, type Tensor, tensorIn } from "../../../tensor/tensor.ts";
import { weightDtype } from "../../../tensor/weight.ts";
import { BLOCK_ROWS } from "../../bilinear/delta-block.ts";
import type { FormedWeights } from "../../training/method.ts";
import { type Dispatch, MOST_SQUARED_ROWS, rowSquares } from "../dispatches.ts";

/** ΔW is formed in blocks of rows of about this much. */
const BLOCK_BYTES = 8 * 2 ** 20;

/** A module whose rows are rescaled. */
export interface NormedModule {
  readonly name: string;
  /** W (out, in): rows of the decoder's matrix. */
  readonly weight: Tensor;
  /** Σ (W + ΔW)² of its rows, (1, out) F32. */
  readonly squares: Tensor;
}

/** Rows of a module's ΔW that are formed at once. */
export function formedRows({ shape: [out, input] }: Tensor): number {
  const rows = Math.max(1, Math.floor(BLOCK_BYTES / (4 * pitchOf(input, "F32")) / BLOCK_ROWS)) * BLOCK_ROWS;
  return Math.min(out, rows);
}

/** Scratch for ΔW of the largest of these modules; undefined where none forms it. */
export function allocateFormed(gpu: Gpu, weights: readonly Tensor[]): GpuBuffer | undefined {
  const bytes = weights.map((weight) => formedRows(weight) * pitchOf(weight.shape[1], "F32") * 4);
  return weights.length === 0 ? undefined : gpu.memory.allocate("ΔW", Math.max(...bytes));
}

/** Records Σ (W + ΔW)² of each row of a module, as the method has W + ΔW now. */
export function recordSquares(
  run: Run,
  formed: FormedWeights,
  module: NormedModule,
  scratch: GpuBuffer | undefined,
): void {
  const { name, weight, squares } = module;
  const held = formed.held(name);
  if (held !== undefined) {
    const [w, delta] = held.of === "ΔW" ? [weight, held.tensor] : [held.tensor, undefined];
    recordRowSquares(run, w, delta, squares);
    return;
  }
  if (scratch === undefined) throw new Error(`${name}: there is no room for its ΔW`);
  const [out, input] = weight.shape;
  const step = formedRows(weight);
  for (let first = 0; first < out; first += step) {
    const count = Math.min(step, out - first);
    const delta = tensorIn(scratch, [count, input], "F32");
    formed.record(run, name, first, delta);
    const part = { ...squares, shape: [1, count] as const, offset: squares.offset + first };
    recordRowSquares(run, sliceRows(weight, first, count), delta, part);
  }
}

/** Records Σ (W + Δ)² of each row into `squares` (1, rows). */
export function recordRowSquares(run: Run, weight: Tensor, delta: Tensor | undefined, squares: Tensor): void {
  const [rows, cols] = weight.shape;
  const fitting = [weight, delta].map((one) => one && rowBlocks(run, one)[0]?.rows);
  const step = Math.min(MOST_SQUARED_ROWS, ...fitting.map((count) => count ?? rows));
  const sums = bind(run, squares);
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const bound = (tensor: Tensor) => {
      const { binding, offset: at } = bind(run, sliceRows(tensor, first, count));
      return { binding, at, pitch: tensor.pitch };
    };
    const of = {
      rows: count,
      cols,
      weight: { ...bound(weight), dtype: weightDtype("norms", weight) },
      delta: delta && bound(delta),
      sums: { binding: sums.binding, at: sums.offset + first },
      nothing: run.nothing,
    };
    record(run, rowSquares(run.staging, of));
  }
}

/** Records a dispatch of the magnitude's kernels. */
export function record(run: Run, { source, parameters, buffers, workgroups }: Dispatch): void {
  run.dispatch(source, parameters, buffers, workgroups);
}
