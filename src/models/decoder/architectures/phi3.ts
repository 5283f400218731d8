import { type Architecture, decoder, llamaLayer, sizesOf } from "./common.ts";
import { ropeOf } from "../rope-json.ts";

/** Phi 3, 3.5 and 4: llama with q, k, v in one matrix, gate and up in another, and often LongRoPE. */
export const phi3: Architecture = {
  type: "phi3",
  title: "Phi 3, 3.5 and 4",
  targets: ["qkv_proj"],
  gguf: { name: "phi3", transformers: "Phi3ForCausalLM" },
  describe(json) {
    const sizes = sizesOf(json, { contextLength: 4096, epsilon: 1e-5 });
    const window = json.sliding_window ?? Infinity;
    return decoder(json, sizes, {
      ropes: [ropeOf(json, { ...sizes, partial: true, trainedLength: 4096 })],
      layer: (path) => llamaLayer(path, sizes, { names: ["qkv_proj"], window }, { names: ["gate_up_proj"] }),
    });
  },
};
