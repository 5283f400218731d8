import { BASE_ARGUMENT, CKA_OPTIONS } from "../src/measure/analyze/options.ts";
import { defineCommand } from "../src/terminal/options/command.ts";

/** `randlora analyze cka`. */
export const ckaCommand = defineCommand({
  name: "cka",
  summary: "Compare the representations of adapters with a reference's, block by block",
  example:
    "randlora analyze cka embedded --reference runs/full --adapter runs/lora --adapter runs/randlora --data chats.jsonl",
  arguments: { model: BASE_ARGUMENT },
  options: CKA_OPTIONS,
  async run({ model }, options, context) {
    const { analyzeCka } = await import("../src/measure/analyze/cka/cka-command.ts");
    await analyzeCka(model, options, context);
  },
});
