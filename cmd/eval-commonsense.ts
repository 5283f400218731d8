import { defineCommand, flag, integer, list, repeat, required, text } from "../src/terminal/options/command.ts";
import { ADAPTER_OPTIONS } from "../src/terminal/options/shared/adapters.ts";
import { partOptions } from "../src/terminal/options/shared/job.ts";
import { kvTypeOption } from "../src/terminal/options/shared/kv-type.ts";

/** `randlora eval commonsense`. */
export const commonsenseCommand = defineCommand({
  name: "commonsense",
  summary: "Answer the eight commonsense tasks of LLM-Adapters, as papers on LoRA do",
  example:
    "randlora eval commonsense Qwen/Qwen2-0.5B --adapter my-adapter --data LLM-Adapters/dataset --out answers.json",
  arguments: {
    model: required(
      "MODEL",
      "the model: a folder, an index.json, one .safetensors or .gguf file, a run, or org/name on the Hub",
    ),
  },
  options: {
    data: text({ value: "DIR", topic: "Tasks", help: "a folder with TASK/test.json" }),
    tasks: list(text({ value: "boolq,piqa,…", topic: "Tasks", help: "tasks to run", defaultText: "those in DIR" })),
    limit: integer({ topic: "Tasks", help: "number of questions of each task, the first ones", min: 1 }),
    adapter: repeat(
      text({ value: "A", topic: "Adapters", help: "adapter to merge first; may be given several times" }),
    ),
    ...ADAPTER_OPTIONS,
    beams: integer({
      topic: "Answers",
      help: "number of beams of the beam search; 1 is greedy decoding",
      min: 1,
      max: 64,
      default: 4,
    }),
    batchSize: integer({
      value: "B",
      topic: "Answers",
      help: "number of questions in a batch",
      min: 1,
      defaultText: "8",
    }),
    paperMask: flag({ topic: "Answers", help: "mask tokens of id 0 in prompts, as LLM-Adapters' script does" }),
    maxTokens: integer({
      short: "n",
      topic: "Answers",
      help: "maximum number of tokens in an answer",
      min: 1,
      defaultText: "32",
    }),
    kvType: kvTypeOption("f32"),
    ...partOptions("the questions"),
    out: text({ short: "o", value: "FILE", topic: "Output", help: "file that each answer is written to as it comes" }),
    resume: flag({ topic: "Output", help: "continue from the answers in FILE" }),
    force: flag({ topic: "Output", help: "replace an existing FILE" }),
  },
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
