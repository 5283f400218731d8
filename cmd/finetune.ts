import { defineCommand } from "../src/terminal/options/command.ts";
import { FINETUNE_OPTIONS, MODEL_ARGUMENT } from "../src/train/settings/options.ts";

/** `randlora finetune`: trains an adapter, or a whole model. */
export const command = defineCommand({
  name: "finetune",
  otherNames: ["train", "fine-tune", "tune", "sft"],
  summary: "Train an adapter for a model, or the model itself",
  example: "randlora finetune HuggingFaceTB/SmolLM2-135M-Instruct --data chats.jsonl --valid-split 0.1 --sparse",
  arguments: { model: MODEL_ARGUMENT },
  options: FINETUNE_OPTIONS,
  // What most people need; the rest is in --help-all.
  shown: [
    "data",
    "validSplit",
    "maxLength",
    "method",
    "rank",
    "targets",
    "sparse",
    "quantize",
    "steps",
    "epochs",
    "batchSize",
    "learningRate",
    "out",
    "resume",
    "dryRun",
  ],
  async run({ model }, options, context) {
    const { finetuneModel } = await import("../src/train/command/finetune-command.ts");
    await finetuneModel(model, options, context);
  },
});
