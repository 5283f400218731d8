// The parts that architectures are written with: what they compute, and what transformers calls their weights.
export { attention, type AttentionParts } from "./parts/attention.ts";
export { type ExpertParts, experts, transposedExperts } from "./parts/experts.ts";
export { gatedMlp, type GatedMlpParts, plainMlp } from "./parts/mlp.ts";
export { layerNorm, plainNorm, rmsNorm, type Sizes } from "./parts/modules.ts";
export { convolution, gatedDelta, MOST_TAPS } from "./parts/recurrent.ts";
