import { CONVERT_OPTIONS } from "../src/adapters/convert/convert-options.ts";
import { defineCommand, required } from "../src/terminal/options/command.ts";

/** `randlora convert ADAPTER|MODEL --to peft|json|lora|gguf --out PATH`. */
export const command = defineCommand({
  name: "convert",
  otherNames: ["export"],
  summary: "Write an adapter as a PEFT folder, adapter.json or LoRA; a model or a LoRA as GGUF",
  example: "randlora convert my-model --to gguf --out my-model.gguf",
  arguments: {
    adapter: required(
      "ADAPTER",
      "an adapter: a PEFT folder, an adapter.json, a run, or org/name on the Hub; for gguf also a model",
    ),
  },
  options: CONVERT_OPTIONS,
  async run({ adapter }, options, context) {
    const { convert } = await import("../src/adapters/convert/convert-command.ts");
    await convert(adapter, options, context);
  },
});
