// What the module exports: each function is a kernel, called as kernel(arguments, piece, scratch).
export { columnSums, scaleColumns, zero } from "./columns";
export { elementwise, elementwiseGradient } from "./elementwise";
export { gemm } from "./gemm";
export { lossSum, nll, nllGradient } from "./losses";
export { layerNorm, layerNormGradient, rmsNorm, rmsNormGradient } from "./norms";
export { rope } from "./rope";
export { embedding, embeddingLinks, embeddingSums, rows } from "./tokens";
export { topK } from "./top-k";
