import type { TrainedTensors } from "../method/fit.ts";
import { type LoraConfig, rankAndScale } from "./config.ts";

/** What LoRA trains of a module: A and B; of the matrices of all experts of a layer both together. */
export const LORA_TENSORS: TrainedTensors<LoraConfig, "a" | "b"> = {
  names: { a: "lora_A.weight", b: "lora_B.weight" },
  shapes(config, { module, out, in: input, experts = 1 }) {
    const { rank } = rankAndScale(config, module);
    return { a: [rank * experts, input], b: [out, rank * experts] };
  },
  meaning: "A is (r, in) and B (out, r), with r of each expert; rank_pattern names exceptions",
};
