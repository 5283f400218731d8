import { MODEL_ARGUMENT } from "../src/chat/options.ts";
import {
  CHATS_OPTIONS,
  COMMONSENSE_OPTIONS,
  FORGETTING_OPTIONS,
  PERPLEXITY_OPTIONS,
} from "../src/measure/eval/options.ts";
import { ACCURACY_OPTIONS } from "../src/measure/images/options.ts";
import { defineCommand, defineGroup, required } from "../src/terminal/options/command.ts";

/** `randlora eval chats`. */
const chatsCommand = defineCommand({
  name: "chats",
  summary: "Measure loss and right answers on held-out chats",
  example: "randlora eval chats runs/my-run --data test.jsonl --match json",
  arguments: { model: MODEL_ARGUMENT },
  options: CHATS_OPTIONS,
  async run({ model }, options, context) {
    const { evalChats } = await import("../src/measure/eval/chats-command.ts");
    await evalChats(model, options, context);
  },
});

/** `randlora eval commonsense`. */
const commonsenseCommand = defineCommand({
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

/** `randlora eval images`. */
const imagesCommand = defineCommand({
  name: "images",
  summary: "Measure the accuracy of CLIP or DINOv2 on labeled images",
  example: "randlora eval images openai/clip-vit-base-patch32 --adapter my-adapter --data flowers",
  arguments: {
    model: required("MODEL", "CLIP or DINOv2: a folder or one of its files, a run, or org/name on the Hub"),
  },
  options: ACCURACY_OPTIONS,
  async run({ model }, options, context) {
    const { evalImages } = await import("../src/measure/images/accuracy-command.ts");
    await evalImages(model, options, context);
  },
});

/** `randlora eval perplexity`. */
const perplexityCommand = defineCommand({
  name: "perplexity",
  summary: "Measure how well a model predicts a text",
  example: "randlora eval perplexity HuggingFaceTB/SmolLM2-135M-Instruct --adapter my-adapter --merged --file book.txt",
  arguments: { model: MODEL_ARGUMENT },
  options: PERPLEXITY_OPTIONS,
  async run({ model }, options, context) {
    const { evalPerplexity } = await import("../src/measure/eval/measure-texts.ts");
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
