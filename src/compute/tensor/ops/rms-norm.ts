import { at, defineOp, matrixOf, requireShapes, zeros } from "../op.ts";

export interface RmsNormAttributes {
  readonly epsilon: number;
  /** Added to the weight: 1 where the checkpoint stores weight − 1 (Gemma), else 0. */
  readonly offset: number;
}

/**
 * y = x / √(mean(x²) + ε) · (offset + weight) (Zhang and Sennrich, arXiv:1910.07467). x is (rows, n·cols) for a weight
 * (1, cols): each of the n segments of a row, a head for example, is normalized by itself.
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
    run.compute("rmsNorm", { x, weight, epsilon, offset, y });
  },
  reference({ x, weight }, { epsilon, offset }) {
    const size = weight.shape[1];
    const [rows, cols] = x.shape;
    const roots = Float64Array.from({ length: x.data.length / size }, (_, segment) => {
      const values = x.data.subarray(segment * size, (segment + 1) * size);
      return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / size + epsilon);
    });
    return {
      y: matrixOf(rows, cols, (row, col) => {
        const root = roots[Math.floor((row * cols + col) / size)] ?? NaN;
        return (at(x, row, col) / root) * (offset + at(weight, 0, col % size));
      }),
    };
  },
  derivative: {
    saves: () => ["x", "weight"],
    backward(run, { inputs: { x, weight }, gradients: { y: dy }, into }, { epsilon, offset }) {
      if (dy === undefined) return;
      run.compute("rmsNormGradient", { x, weight, dy, epsilon, offset, dx: into.x, dweight: into.weight });
    },
    gradient({ x, weight }, { epsilon, offset }, { y }) {
      const size = weight.shape[1];
      const [rows, cols] = x.shape;
      const dx = zeros(rows, cols);
      const dweight = zeros(1, size);
      for (let begin = 0; begin < x.data.length; begin += size) {
        const of = (data: Float64Array, c: number) => data[begin + c] ?? NaN;
        const mean = (value: (c: number) => number) => {
          let sum = 0;
          for (let c = 0; c < size; c++) sum += value(c);
          return sum / size;
        };
        const scale = 1 / Math.sqrt(mean((c) => of(x.data, c) ** 2) + epsilon);
        const h = (c: number) => of(y.data, c) * (offset + at(weight, 0, c));
        const shared = mean((c) => h(c) * of(x.data, c)) * scale ** 2;
        for (let c = 0; c < size; c++) {
          dx.data[begin + c] = scale * (h(c) - of(x.data, c) * shared);
          dweight.data[c] = (dweight.data[c] ?? NaN) + of(y.data, c) * of(x.data, c) * scale;
        }
      }
      return { x: dx, weight: dweight };
    },
  },
});
