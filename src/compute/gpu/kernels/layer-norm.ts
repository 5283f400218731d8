import { kernelFamily } from "./family.ts";
import backwardText from "./layer-norm-backward.wgsl" with { type: "text" };
import layerNormText from "./layer-norm.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Parameters of layer-norm-backward.wgsl. */
const layerNormBackwardParameters = uniformStruct({
  width: "u32", // vectors of 4 in a row
  cols: "u32", // elements
  outputs: "u32", // bit 0: dx, bit 1: dy · n
  x: "vectors",
  dy: "vectors",
  dx: "vectors",
  products: "vectors",
  weightAt: "inVectors",
  epsilon: "f32",
});

/** Parameters of layer-norm.wgsl. */
const layerNormParameters = uniformStruct({
  width: "u32", // vectors of 4 in a row
  cols: "u32", // elements
  x: "vectors",
  y: "vectors",
  weightAt: "inVectors",
  biasAt: "inVectors",
  hasBias: "flag",
  epsilon: "f32",
});

const family = kernelFamily("layer-norm", layerNormText, layerNormParameters);
const backward = kernelFamily("layer-norm-backward", backwardText, layerNormBackwardParameters);

/** Layer normalization; one workgroup a row. */
export const LAYER_NORM_KERNEL = family({ THREADS: 128 });

/** The gradient by x, and the products that make up the one by the weight. */
export const LAYER_NORM_BACKWARD_KERNEL = backward({ THREADS: 128 });
