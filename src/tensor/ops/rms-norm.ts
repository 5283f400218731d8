import { f32, uniform } from "../../kernels/parameters.ts";
import { rmsNormKernel } from "../../kernels/rms-norm.ts";
import { defineOp, matrixOf, at, requireShapes } from "../op.ts";
import { whole } from "../run.ts";

export interface RmsNormAttributes {
  readonly epsilon: number;
  /** Added to the weight: 1 where the checkpoint stores weight − 1 (Gemma), else 0. */
  readonly offset: number;
}

/**
 * y = x / √(mean(x²) + ε) · (offset + weight) (Zhang and Sennrich, arXiv:1910.07467). x is (rows, n·cols) for a weight
 * (1, cols): each of the n segments of a row, a head for example, is normalised by itself.
 */
export const rmsNorm = defineOp({
  inputs: { x: "needed", weight: "needed" },
  outputs: { y: "needed" },
})<RmsNormAttributes>({
  name: "rms-norm",
  shape({ x, weight }) {
    const segments = x[1] / weight[1];
    const fits = weight[0] === 1 && Number.isInteger(segments) && (segments === 1 || weight[1] % 4 === 0);
    requireShapes("rms-norm", { x, weight }, fits, "a row must be one segment, or several of a multiple of 4");
    return { y: { shape: x } };
  },
  forward(run, { x, weight }, { epsilon, offset }, { y }) {
    const [rows, cols] = x.shape;
    const size = weight.shape[1];
    const width = Math.ceil(size / 4);
    const strides = [x.offset / 4, x.pitch / 4, y.offset / 4, y.pitch / 4] as const;
    run.dispatch(
      rmsNormKernel(run.staging),
      uniform(width, f32(size), ...strides, f32(offset), f32(epsilon)),
      [whole(run, x), whole(run, weight), whole(run, y)],
      [rows, cols / size],
    );
  },
  reference({ x, weight }, { epsilon, offset }) {
    const size = weight.shape[1];
    const [rows, cols] = x.shape;
    return {
      y: matrixOf(rows, cols, (row, col) => {
        const begin = row * cols + col - (col % size);
        const squares = x.data.subarray(begin, begin + size).reduce((sum, value) => sum + value * value, 0);
        return (at(x, row, col) / Math.sqrt(squares / size + epsilon)) * (offset + at(weight, 0, col % size));
      }),
    };
  },
});
