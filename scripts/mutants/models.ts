import type { MutationsByFile } from "./mutation.ts";

/** Of src/models. */
export const MODELS: MutationsByFile = {
  "src/models/weight-format.ts": [
    ['return quantize && "Q8_0";', "return quantize;", "embeddings are rounded to 4 bits"],
  ],
  "src/models/blocks/rope.ts": [
    [
      "(plain / scaling.factor) * (1 - keep) + plain * keep",
      "(plain / scaling.factor) * keep + plain * (1 - keep)",
      "YaRN's interpolation is the wrong way around",
    ],
  ],
  "src/models/decoder/positions.ts": [
    [
      "(position) => position < most)",
      "(position) => position <= most)",
      "off by one: a position beyond the embeddings is accepted",
    ],
  ],
  "src/models/decoder/prompt-scores.ts": [
    ["(one) => one - sum)", "(one) => one)", "logits of a prompt are given as log probabilities"],
  ],
  "src/models/decoder/architectures/llama.ts": [
    ["1 / (json.logits_scaling ?? 1)", "json.logits_scaling ?? 1", "Granite's logits are scaled by the inverse"],
  ],
  "src/models/decoder/architectures/gemma.ts": [
    ["index % 2 === 0", "index % 2 === 1", "Gemma 2's windows are on the other layers"],
  ],
  "src/models/decoder/cache/slot.ts": [
    [
      "Math.max(0, left + 1 - window)",
      "Math.max(0, left - window)",
      "off by one in the positions that a window still needs",
    ],
  ],
  "src/models/decoder/parts.ts": [
    ["gateUpBias: bias ? biases(joined) : undefined", "gateUpBias: undefined", "dropped bias of gated MLPs"],
  ],
  "src/models/folder/locate.ts": [
    [
      "place: { name: model, commit: known }",
      "place: { name: model, commit: null }",
      "a run's model is taken from another commit of its repository",
    ],
  ],
  "src/models/gguf/place.ts": [
    [
      "(row % half) * 2 + Math.floor(row / half)",
      "(row % 2) * half + Math.floor(row / 2)",
      "rows for llama.cpp's rotary embeddings are ordered the wrong way around",
    ],
  ],
  "src/models/vision/patches.ts": [
    ["const a = -0.75;", "const a = -0.5;", "positions are interpolated by another cubic than torch's"],
  ],
};
