import backwardText from "./elementwise-backward.wgsl" with { type: "text" };
import elementwiseText from "./elementwise.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** Parameters of elementwise-backward.wgsl. */
const elementwiseBackwardParameters = uniformStruct({
  kind: "u32",
  outputs: "u32", // bit 0: by a, bit 1: by b
  width: "u32", // vectors of 4 in a row
  cap: "f32",
  a: "vectors",
  b: "vectors",
  g: "vectors",
  da: "vectors",
  db: "vectors",
});

/** Parameters of elementwise.wgsl. */
const elementwiseParameters = uniformStruct({
  kind: "u32",
  rows: "u32",
  width: "u32", // vectors of 4 in a row
  a: "vectors",
  b: "vectors",
  y: "vectors",
  cap: "f32",
});

const family = kernelFamily("elementwise", elementwiseText, elementwiseParameters);

/** y = f(a, b), element by element. */
export const ELEMENTWISE_KERNEL = family({});
/** Vectors of 4 elements that one workgroup handles. */
export const ELEMENTWISE_WIDTH = 64;
/** The gradients of activations, gated ones and the soft cap. */
export const ELEMENTWISE_BACKWARD_KERNEL = kernelFamily(
  "elementwise-backward",
  backwardText,
  elementwiseBackwardParameters,
)({});
