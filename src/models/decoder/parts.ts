// The parts that architectures are written with: what they compute, and what transformers calls their weights.
export { attention, type AttentionParts } from "./parts/attention.ts";
export { experts } from "./parts/experts.ts";
export { layerInput, layerInputs } from "./parts/layer-inputs.ts";
export { gatedMlp, type GatedMlpParts, plainMlp } from "./parts/mlp.ts";
export type { Sizes } from "./parts/modules.ts";
export { layerNorm, plainNorm, rmsNorm } from "./parts/norms.ts";
export { convolution, gatedDelta, MOST_TAPS } from "./parts/recurrent.ts";
