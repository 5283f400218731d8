import backwardText from "./elementwise-backward.wgsl" with { type: "text" };
import elementwiseText from "./elementwise.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** What the kernel computes; the constants of the same names in elementwise.wgsl. */
export const ELEMENTWISE = {
  add: 0,
  silu: 1,
  "gelu-tanh": 2,
  gelu: 3,
  softcap: 4,
  copy: 5,
  accumulate: 6,
  gated: 16,
} as const;

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
