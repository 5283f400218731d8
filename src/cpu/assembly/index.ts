// What the module exports: each function is a kernel, called as kernel(arguments, piece, scratch).
export { attention, attentionParts } from "./attention";
export { attentionKeys, attentionQueries, attentionStats } from "./attention-gradient";
export { columnSums, scaleColumns, zero } from "./columns";
export { delta } from "./delta";
export { dropout } from "./dropout";
export { elementwise, elementwiseGradient } from "./elementwise";
export { finish } from "./finish";
export { gemm } from "./gemm";
export { lossSum, nll, nllGradient } from "./losses";
export { layerNorm, layerNormGradient, rmsNorm, rmsNormGradient } from "./norms";
export { lambdaOrder, scaledA } from "./operands";
export { adamw, gradientNorm, gradientSquares } from "./optimizer";
export { rope } from "./rope";
export { ternary } from "./ternary";
export { embedding, embeddingLinks, embeddingSums, rows } from "./tokens";
export { topK } from "./top-k";
export { unpack } from "./unpack";
export { widen } from "./widen";
