import type { Gpu } from "../../gpu/gpu.ts";
import type { Binding } from "../../gpu/stream.ts";
import { THETA_BLOCK, THETA_THREADS, thetaDeltaParameters } from "../../kernels/theta.ts";
import type { DeltaBlock } from "../bilinear/delta-block.ts";
import type { DeltaDispatch } from "../bilinear/delta-dispatch.ts";
import type { ThetaKey } from "./stream.ts";

/** α (K) on the GPU, and the bases that it belongs to. */
export interface CoefficientsOnGpu {
  readonly binding: Binding;
  /** Elements before the first one. */
  readonly at: number;
  /** K. */
  readonly count: number;
  readonly key: ThetaKey;
}

/** One layer's share of the bases. */
export interface ThetaLayer {
  /** ΔW is (out, in). */
  readonly out: number;
  readonly in: number;
  /** Its first element in the bases. */
  readonly offset: number;
  /** What a coefficient of 1 multiplies an element by that is within ±1. */
  readonly scale: number;
}

/** The size of an element as the kernels draw it, a whole number within ±255. */
export const THETA_UNIT = 1 / 255;

/** A position in the bases as a kernel takes it: low and high 32 bits. */
export function positionWords(position: number): [number, number] {
  return [position % 2 ** 32, Math.floor(position / 2 ** 32)];
}

/**
 * The dispatches of theta-delta.wgsl for one block of rows of W. `transposed`: W is stored (in, out), so the block's rows are
 * columns of ΔW.
 */
export function thetaDispatches(
  gpu: Gpu,
  coefficients: CoefficientsOnGpu,
  { out, in: input, offset, scale }: ThetaLayer,
  transposed: boolean,
  block: DeltaBlock,
): DeltaDispatch[] {
  const { firstRow, rows, target, at = 0, pitch, accumulate = false } = block;
  const most = gpu.limits.maxComputeWorkgroupsPerDimension;
  const dispatches: DeltaDispatch[] = [];
  const dispatch = (line: { count: number; begin: number; at: number; col: number; lines: number }) => {
    const whole = Math.ceil((line.count + THETA_BLOCK - 1) / THETA_BLOCK);
    dispatches.push({
      parameters: thetaDeltaParameters({
        count: line.count,
        width: transposed ? 1 : input,
        pitch,
        targetAt: line.at,
        begin: positionWords(line.begin),
        lineStep: transposed ? input : 0,
        lineCol: line.col,
        cols: transposed ? out : input,
        bases: coefficients.count,
        alphaAt: coefficients.at,
        accumulate,
        key: coefficients.key,
        scale: scale * THETA_UNIT,
      }),
      buffers: [coefficients.binding, target],
      workgroups: [Math.ceil(whole / THETA_THREADS), line.lines],
    });
  };
  if (transposed) {
    // A line a column of the target. Its rows are too few for more workgroups than an axis has.
    for (let col = 0; col < out; col += most) {
      const lines = Math.min(most, out - col);
      dispatch({ count: rows, begin: offset + col * input + firstRow, at: at + col, col, lines });
    }
    return dispatches;
  }
  const step = Math.max(1, Math.floor(((most - 1) * THETA_THREADS * THETA_BLOCK) / input));
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row) * input;
    dispatch({ count, begin: offset + (firstRow + row) * input, at: at + row * pitch, col: 0, lines: 1 });
  }
  return dispatches;
}
