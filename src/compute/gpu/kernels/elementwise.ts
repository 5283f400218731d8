import backwardText from "./elementwise-backward.wgsl" with { type: "text" };
import elementwiseText from "./elementwise.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

const family = kernelFamily("elementwise", elementwiseText);

/** y = f(a, b), element by element. */
export const ELEMENTWISE_KERNEL = family({});
/** Vectors of 4 elements that one workgroup handles. */
export const ELEMENTWISE_WIDTH = 64;
/** The gradients of activations, gated ones and the soft cap. */
export const ELEMENTWISE_BACKWARD_KERNEL = kernelFamily("elementwise-backward", backwardText)({});

/** Parameters: see elementwise-backward.wgsl. */
export const elementwiseBackwardParameters = uniformStruct({
  kind: "u32",
  outputs: "u32",
  width: "u32",
  cap: "f32",
  a: "place",
  b: "place",
  g: "place",
  da: "place",
  db: "place",
});

/** Parameters: see elementwise.wgsl. */
export const elementwiseParameters = uniformStruct({
  kind: "u32",
  rows: "u32",
  width: "u32",
  a: "place",
  b: "place",
  y: "place",
  cap: "f32",
});
