import { COMMONSENSE_OPTIONS } from "../src/measure/eval/options.ts";
import { defineCommand, required } from "../src/terminal/options/command.ts";

/** `randlora eval commonsense`. */
export const commonsenseCommand = defineCommand({
  name: "commonsense",
  summary: "Answer LLM-Adapters' eight commonsense tasks, as papers on LoRA do",
  example:
    "randlora eval commonsense Qwen/Qwen2-0.5B --adapter my-adapter --data LLM-Adapters/dataset --out answers.json",
  arguments: {
    model: required("MODEL", "the model: a folder or one of its files, a run, org/name on the Hub, or embedded"),
  },
  options: COMMONSENSE_OPTIONS,
  // What most people need; the rest is in --help-all.
  shown: [
    "data",
    "tasks",
    "limit",
    "adapter",
    "scale",
    "generator",
    "beams",
    "batchSize",
    "paperMask",
    "maxTokens",
    "kvType",
    "out",
    "resume",
    "force",
  ],
  async run({ model }, options, context) {
    const { evalCommonsense } = await import("../src/measure/eval/commonsense-command.ts");
    await evalCommonsense(model, options, context);
  },
});
