import { defineCommand } from "../src/terminal/options/command.ts";
import { COMPARE_OPTIONS } from "../src/measure/compare/options.ts";
import { MODEL_ARGUMENT } from "../src/train/settings/options.ts";

/** `randlora compare`: methods at equal numbers of trained parameters. */
export const command = defineCommand({
  name: "compare",
  otherNames: ["benchmark", "sweep"],
  summary: "Train a model by several methods at equal parameters, and name the best",
  example: "randlora compare --methods randlora,randlora+sparse,lora --params 50K --steps 50 --out comparison",
  arguments: { model: MODEL_ARGUMENT },
  options: COMPARE_OPTIONS,
  // What most people need; the rest is in --help-all.
  shown: [
    "methods",
    "params",
    "like",
    "seeds",
    "learningRate",
    "out",
    "resume",
    "dryRun",
    "data",
    "validSplit",
    "targets",
    "steps",
    "epochs",
    "batchSize",
    "seed",
  ],
  async run({ model }, options, context) {
    const { compareMethods } = await import("../src/measure/compare/compare-command.ts");
    await compareMethods(model, options, context);
  },
});
