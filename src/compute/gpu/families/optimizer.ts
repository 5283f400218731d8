import type { AdamWStep, GradientNorm, LossSum } from "../../device/families/optimizer.ts";
import { ADAMW_KERNEL, ADAMW_THREADS } from "../kernels/adamw.ts";
import { LOSS_SUM_KERNEL, NORM_KERNEL, SQUARES_KERNEL, SQUARES_PART } from "../kernels/norm.ts";
import type { Dispatcher } from "../context.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";

export function adamw(on: Dispatcher, operands: AdamWStep): void {
  const { size: total, value, gradient, mean, square, state, ...scalars } = operands;
  for (const { first, size } of ranges(on, total)) {
    const bindings = [value, gradient, mean, square].map((of) => ({ of, offset: first * 4, size: size * 4 }));
    const [x, y] = grid(on, size / 4 / ADAMW_THREADS);
    on.dispatch(ADAMW_KERNEL, { vectors: size / 4, perRow: x, ...scalars }, [...bindings, state], [x, y]);
  }
}

export function gradientNorm(on: Dispatcher, { gradients, clip, state }: GradientNorm): void {
  const pieces = gradients.flatMap(({ buffer, size }) => ranges(on, size).map((range) => ({ of: buffer, ...range })));
  const total = pieces.reduce((sum, { size }) => sum + Math.ceil(size / 4 / SQUARES_PART), 0);
  const partial = takeScratch(on, "norm.partial", [1, total]);
  let first = 0;
  for (const { of, first: begin, size } of pieces) {
    const parts = Math.ceil(size / 4 / SQUARES_PART);
    const [x, y] = grid(on, parts);
    const gradient = { of, offset: begin * 4, size: size * 4 };
    const parameters = { vectors: size / 4, perRow: x, first };
    on.dispatch(SQUARES_KERNEL, parameters, [gradient, partial], [x, y]);
    first += parts;
  }
  on.dispatch(NORM_KERNEL, { count: total, clip }, [partial, state], [1]);
  giveScratch(on, partial);
}

export function lossSum(on: Dispatcher, { losses, weight, sums, slot, first }: LossSum): void {
  const { offset: at, pitch, shape } = losses;
  const parameters = { count: shape[0], at, pitch, weight, isFirst: first, slot };
  on.dispatch(LOSS_SUM_KERNEL, parameters, [losses, sums], [1]);
}

/** A flat array in pieces that can be bound. */
function ranges({ gpu }: Dispatcher, total: number): { readonly first: number; readonly size: number }[] {
  const most = Math.floor(gpu.limits.maxStorageBufferBindingSize / 256) * 64;
  const all = [];
  for (let first = 0; first < total; first += most) all.push({ first, size: Math.min(most, total - first) });
  return all;
}

/** At least `count` workgroups, in as many rows as one axis cannot hold. */
function grid({ gpu }: Dispatcher, count: number): [number, number] {
  const x = Math.min(Math.ceil(count), gpu.limits.maxComputeWorkgroupsPerDimension);
  return [x, Math.ceil(Math.ceil(count) / x)];
}
