// What the module exports: each function is a kernel, called as kernel(arguments, piece, scratch).
export { gemm } from "./gemm";
