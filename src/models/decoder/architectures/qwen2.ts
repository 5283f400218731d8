import { type Architecture, decoder, isSliding, llamaLayer, sizesOf, withDefault } from "./common.ts";
import type { ConfigJson } from "../config-file.ts";
import { ropeOf } from "../rope-json.ts";

/** Qwen 2 and 2.5: llama with biases on q, k and v; upper layers may have a sliding window. */
export const qwen2: Architecture = {
  type: "qwen2",
  title: "Qwen 2 and 2.5",
  gguf: { name: "qwen2", transformers: "Qwen2ForCausalLM" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 32_768, epsilon: 1e-6, kvHeads: 32 });
    return decoder(json, sizes, {
      ropes: [ropeOf(json, sizes)],
      layer: (path, index) => llamaLayer(path, sizes, { qkvBias: true, window: upperWindow(json, index) }),
    });
  },
};

/** The window of layer number `index`: of the upper ones, where windows are used at all. */
export function upperWindow(json: ConfigJson, index: number): number {
  const window = json.use_sliding_window === true ? withDefault(json.sliding_window, 4096) : undefined;
  const isUpper = window !== undefined && index >= (json.max_window_layers ?? 28);
  return (isSliding(json, index, isUpper) ? window : undefined) ?? Infinity;
}
