// What the module exports: each function is a kernel, called as kernel(arguments, piece, scratch).
export { delta } from "./delta";
export { dropout } from "./dropout";
export { finish } from "./finish";
export { gemm } from "./gemm";
export { adamw, gradientNorm, gradientSquares } from "./optimizer";
export { lambdaOrder, scaledA } from "./operands";
export { ternary } from "./ternary";
export { unpack } from "./unpack";
export { widen } from "./widen";
