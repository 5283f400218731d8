import { defineCommand, defineGroup, flag, number, optional, text } from "../src/terminal/options/command.ts";
import { generatorOption } from "../src/terminal/options/shared/adapters.ts";
import { commonsenseCommand } from "./eval-commonsense.ts";
import { imagesCommand } from "./eval-images.ts";
import { contextOption } from "../src/terminal/options/shared/context.ts";
import { kvTypeOption } from "../src/terminal/options/shared/kv-type.ts";
import { partOptions } from "../src/terminal/options/shared/job.ts";
import { quantizeOption } from "../src/terminal/options/shared/quantize.ts";

/** `randlora eval perplexity`. */
const perplexityCommand = defineCommand({
  name: "perplexity",
  summary: "Measure how well a model predicts a text, with and without an adapter",
  example: "randlora eval perplexity HuggingFaceTB/SmolLM2-135M-Instruct --adapter my-adapter --merged --file book.txt",
  arguments: {
    model: optional(
      "MODEL",
      "the model: a folder, an index.json, one .safetensors or .gguf file, a run, or org/name on the Hub; default: the newest run or merged model here, else embedded",
    ),
  },
  options: {
    file: text({ short: "f", value: "TEXT", topic: "Text", help: "text file (UTF-8), read byte for byte; - is stdin" }),
    context: contextOption({
      topic: "Text",
      help: "window length in tokens; windows do not overlap",
      defaultText: "1024, or the model's context when that is smaller",
    }),
    adapter: text({ value: "A", topic: "Adapter", help: "adapter to measure the model with as well, in f32" }),
    scale: number({ value: "S", topic: "Adapter", help: "adapter scale: multiplies α/r", defaultText: "1" }),
    generator: generatorOption("Adapter"),
    quantize: quantizeOption({ topic: "Model" }),
    kvType: kvTypeOption("f32"),
    ...partOptions("the text's windows"),
    merged: flag({ topic: "Adapter", help: "measure the model that merge would write as well" }),
  },
  async run({ model }, options, context) {
    const { evalPerplexity } = await import("../src/measure/eval/perplexity-command.ts");
    await evalPerplexity(model, options, context);
  },
});

/** `randlora eval`. */
export const command = defineGroup({
  name: "eval",
  otherNames: ["evaluate", "perplexity", "ppl", "benchmark"],
  summary: "Measure a model",
  commands: [perplexityCommand, commonsenseCommand, imagesCommand],
});
