import { MODEL_ARGUMENT } from "../src/chat/options.ts";
import { FORGETTING_OPTIONS, PERPLEXITY_OPTIONS } from "../src/measure/eval/options.ts";
import { defineCommand, defineGroup } from "../src/terminal/options/command.ts";
import { chatsCommand } from "./eval-chats.ts";
import { commonsenseCommand } from "./eval-commonsense.ts";
import { imagesCommand } from "./eval-images.ts";

/** `randlora eval perplexity`. */
const perplexityCommand = defineCommand({
  name: "perplexity",
  summary: "Measure how well a model predicts a text",
  example: "randlora eval perplexity HuggingFaceTB/SmolLM2-135M-Instruct --adapter my-adapter --merged --file book.txt",
  arguments: { model: MODEL_ARGUMENT },
  options: PERPLEXITY_OPTIONS,
  async run({ model }, options, context) {
    const { evalPerplexity } = await import("../src/measure/eval/perplexity-command.ts");
    await evalPerplexity(model, options, context);
  },
});

/** `randlora eval forgetting`. */
const forgettingCommand = defineCommand({
  name: "forgetting",
  summary: "Measure what an adapter makes a model forget",
  example: "randlora eval forgetting HuggingFaceTB/SmolLM2-135M-Instruct --adapter my-adapter",
  arguments: { model: MODEL_ARGUMENT },
  options: FORGETTING_OPTIONS,
  async run({ model }, options, context) {
    const { evalForgetting } = await import("../src/measure/eval/forgetting-command.ts");
    await evalForgetting(model, options, context);
  },
});

/** `randlora eval`. */
export const command = defineGroup({
  name: "eval",
  otherNames: ["evaluate", "perplexity", "ppl", "benchmark"],
  summary: "Measure a model",
  commands: [chatsCommand, perplexityCommand, forgettingCommand, commonsenseCommand, imagesCommand],
});
