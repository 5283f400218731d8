import type { JsonObject } from "../../../files/lossless-json.ts";
import { writeFolder } from "../../testing/adapters.ts";
import { loraTensors, type TestLora } from "../../testing/lora.ts";
import { adapterConfig, adapterTensors, type TestAdapter } from "./models.ts";

/** Writes a RandLoRA and a LoRA of the same modules as one adapter. */
export function writeHybrid(
  folder: string,
  adapter: TestAdapter,
  lora: TestLora,
  config: JsonObject = {},
): Promise<string> {
  const both = {
    ...adapterConfig(adapter),
    peft_type: "RANDLORA_HYBRID",
    randlora_variant: "peft",
    lora_r: lora.r,
    lora_alpha: lora.alpha,
    rank_pattern: lora.ranks ?? {},
    ...config,
  };
  return writeFolder(folder, both, { ...adapterTensors(adapter), ...loraTensors(lora) });
}
