import { Contradiction } from "../src/files/errors.ts";
import { CHAT_OPTIONS, MODEL_ARGUMENT } from "../src/chat/options.ts";
import { defineCommand, optional } from "../src/terminal/options/command.ts";

/** `randlora chat`: talks to a model, one answer or a whole conversation. */
export const command = defineCommand({
  name: "chat",
  otherNames: ["generate", "run", "talk", "infer"],
  summary: "Talk to a model, with or without adapters",
  example: 'randlora chat HuggingFaceTB/SmolLM2-135M-Instruct --adapter my-adapter -p "Why is the sky blue?"',
  arguments: {
    model: MODEL_ARGUMENT,
    question: optional("QUESTION", "prompt: print one answer and exit; what comes on stdin is put before it"),
  },
  options: CHAT_OPTIONS,
  // What most people need; the rest is in --help-all.
  shown: [
    "prompt",
    "system",
    "raw",
    "adapter",
    "scale",
    "maxTokens",
    "temperature",
    "topK",
    "topP",
    "seed",
    "context",
    "quantize",
  ],
  async run({ model, question }, options, context) {
    if (question !== undefined && options.prompt !== undefined) {
      throw new Contradiction(["prompt"], "QUESTION and --prompt are both given", "leave one of them out");
    }
    const { chat } = await import("../src/chat/terminal/chat-command.ts");
    await chat(model, { ...options, question }, context);
  },
});
