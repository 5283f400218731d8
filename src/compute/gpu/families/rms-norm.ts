import type { RmsNorm, RmsNormGradient } from "../../device/families/norms.ts";
import { RMS_NORM_BACKWARD_KERNEL, RMS_NORM_KERNEL } from "../kernels/rms-norm.ts";
import type { Dispatcher } from "../context.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import { columnSums } from "./column-sums.ts";

export function rmsNorm(on: Dispatcher, { x, weight, epsilon, offset, y }: RmsNorm): void {
  const [rows, cols] = x.shape;
  const size = weight.shape[1];
  const width = Math.ceil(size / 4);
  on.dispatch(
    RMS_NORM_KERNEL,
    { width, cols: size, x, y, offset, epsilon, weightAt: weight.offset },
    [x, weight, y],
    [rows, cols / size],
  );
}

export function rmsNormGradient(on: Dispatcher, operands: RmsNormGradient): void {
  const { x, weight, dy, epsilon, offset, dweight } = operands;
  const [rows, cols] = x.shape;
  const size = weight.shape[1];
  const segments = cols / size;
  // A binding must be there, and of a buffer of its own, even where nothing is written to it.
  const xTarget = operands.dx ?? takeScratch(on, "rms-norm.unused", [1, 4]);
  const scales = takeScratch(on, "rms-norm.scales", [1, dweight === undefined ? 4 : rows * segments]);
  on.dispatch(
    RMS_NORM_BACKWARD_KERNEL,
    {
      width: Math.ceil(size / 4),
      cols: size,
      segments,
      outputs: (operands.dx === undefined ? 0 : 1) | (dweight === undefined ? 0 : 2),
      x,
      g: dy,
      dx: xTarget,
      offset,
      epsilon,
      weightAt: weight.offset,
    },
    [x, weight, dy, xTarget, scales],
    [rows, segments],
  );
  if (operands.dx === undefined) giveScratch(on, xTarget);
  if (dweight !== undefined) {
    const times = { b: dy, factors: scales };
    columnSums(on, { a: x, times, segments, y: dweight });
  }
  giveScratch(on, scales);
}
