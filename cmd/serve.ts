import { MODEL_ARGUMENT } from "../src/chat/options.ts";
import { SERVE_OPTIONS } from "../src/chat/serve/options.ts";
import { defineCommand } from "../src/terminal/options/command.ts";

/** `randlora serve`: OpenAI's API and a chat page, for a model and its adapters. */
export const command = defineCommand({
  name: "serve",
  otherNames: ["server", "api"],
  summary: "Serve a model and its adapters: OpenAI's API and a chat page",
  example: "randlora serve HuggingFaceTB/SmolLM2-135M-Instruct --adapter pirate=my-adapter",
  arguments: { model: MODEL_ARGUMENT },
  options: SERVE_OPTIONS,
  // What most people need; the rest is in --help-all.
  shown: [
    "host",
    "port",
    "apiKey",
    "parallel",
    "adapter",
    "scale",
    "system",
    "context",
    "maxTokens",
    "temperature",
    "quantize",
  ],
  async run({ model }, options, context) {
    const { serve } = await import("../src/chat/serve/serve-command.ts");
    await serve(model, options, context);
  },
});
