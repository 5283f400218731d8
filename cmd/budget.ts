import { count, defineCommand, required, text } from "../src/terminal/options/command.ts";
import { IMAGE_OPTIONS } from "../src/train/settings/image-options.ts";
import { ADAPTER_OPTIONS } from "../src/train/settings/adapter-options.ts";

/** `randlora budget MODEL (--params N | --like METHOD:RANK)`. */
export const command = defineCommand({
  name: "budget",
  otherNames: ["params", "parameters"],
  summary: "Show each method's rank at a parameter budget",
  example: "randlora budget HuggingFaceTB/SmolLM2-135M-Instruct --like lora:16",
  arguments: {
    model: required("MODEL", "the model: a folder or one of its files, a run, org/name on the Hub, or embedded"),
  },
  options: {
    params: count({
      topic: "Budget",
      help: "parameter budget: trainable parameters of each method, such as 500K or 10M",
    }),
    like: text({
      value: "METHOD:RANK",
      topic: "Budget",
      help: "parameter budget: as many as this method trains at this rank; full: all",
    }),
    targets: ADAPTER_OPTIONS.targets,
    layers: ADAPTER_OPTIONS.layers,
    task: IMAGE_OPTIONS.task,
    head: IMAGE_OPTIONS.head,
    towers: IMAGE_OPTIONS.towers,
  },
  async run({ model }, options, context) {
    const { showBudget } = await import("../src/measure/budget/budget-command.ts");
    await showBudget(model, options, context);
  },
});
