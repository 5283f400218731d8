import type { LayerNorm, LayerNormGradient } from "../../device/families/norms.ts";
import { LAYER_NORM_BACKWARD_KERNEL, LAYER_NORM_KERNEL } from "../kernels/layer-norm.ts";
import type { Dispatcher } from "../context.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import { columnSums } from "./column-sums.ts";

export function layerNorm(on: Dispatcher, { x, weight, bias, epsilon, y }: LayerNorm): void {
  const [rows, cols] = x.shape;
  on.dispatch(
    LAYER_NORM_KERNEL,
    {
      width: Math.ceil(cols / 4),
      cols,
      x,
      y,
      weightAt: weight.offset,
      biasAt: bias?.offset ?? 0,
      hasBias: bias !== undefined,
      epsilon,
    },
    [x, weight, bias, y],
    [rows],
  );
}

export function layerNormGradient(on: Dispatcher, operands: LayerNormGradient): void {
  const { x, weight, dy, epsilon, dweight } = operands;
  const [rows, cols] = x.shape;
  // A binding must be there, and of a buffer of its own, even where nothing is written to it.
  const xTarget = operands.dx ?? takeScratch(on, "layer-norm.unused", [1, 4]);
  const products = takeScratch(on, "layer-norm.products", dweight === undefined ? [1, 4] : [rows, cols]);
  on.dispatch(
    LAYER_NORM_BACKWARD_KERNEL,
    {
      width: Math.ceil(cols / 4),
      cols,
      outputs: (operands.dx === undefined ? 0 : 1) | (dweight === undefined ? 0 : 2),
      x,
      dy,
      dx: xTarget,
      products,
      weightAt: weight.offset,
      epsilon,
    },
    [x, weight, dy, xTarget, products],
    [rows],
  );
  if (dweight !== undefined) columnSums(on, { a: products, y: dweight });
  if (operands.dx === undefined) giveScratch(on, xTarget);
  giveScratch(on, products);
}
