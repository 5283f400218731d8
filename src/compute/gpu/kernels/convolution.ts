import convolutionText from "./convolution.wgsl" with { type: "text" };
import tailText from "./tail-convolution.wgsl" with { type: "text" };
import { constants, kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

/** Parameters of convolution.wgsl. */
const convolutionParameters = uniformStruct({
  tokens: "u32",
  cols: "u32",
  width: "u32", // vectors of 4 in a row
  taps: "u32", // of each column
  firstPosition: "u32",
  flags: "u32",
  x: "vectors",
  gate: "vectors",
  weightAt: "u32",
  biasAt: "u32",
  firstsAt: "u32",
  lastsAt: "u32",
  dy: "vectors",
  y: "vectors",
});

/** Flags of one dispatch. */
export const CONVOLUTION_FLAGS = { hasBias: 1, hasFirsts: 2, hasLasts: 4, hasGate: 8 } as const;

/** Vectors of 4 columns that one workgroup handles. */
export const CONVOLUTION_WIDTH = 64;

const convolutionKernel = kernelFamily("convolution", convolutionText, convolutionParameters, {
  constants: constants({ ...CONVOLUTION_FLAGS, mostTerms: 256 }),
});

/** A causal convolution, and its gradients by rows of x and by taps of the weight. */
export const CONVOLUTION_KERNELS = {
  forward: convolutionKernel({ KIND: "forward" }),
  rows: convolutionKernel({ KIND: "rows" }),
  taps: convolutionKernel({ KIND: "taps" }),
} as const;

/** Parameters of tail-convolution.wgsl. */
const tailConvolutionParameters = uniformStruct({
  tokens: "u32", // of a text
  width: "u32", // vectors of 4 in a row
  taps: "u32",
  block: "u32",
  firstPosition: "u32",
  flags: "u32",
  x: "vectors",
  weightAt: "u32",
  firstsAt: "u32",
  rowsAt: "u32",
  tails: "vectors",
  y: "vectors",
});

/** A convolution that goes on behind the last inputs of a text; `hasLasts` where each token is another text's. */
export const TAIL_CONVOLUTION_KERNEL = kernelFamily("tail-convolution", tailText, tailConvolutionParameters, {
  constants: constants(CONVOLUTION_FLAGS),
})({});
