import { MERGE_OPTIONS } from "../src/adapters/merge/to-files/options.ts";
import { defineCommand, optional, several } from "../src/terminal/options/command.ts";

/** `randlora merge`: writes a model with adapters added to its weights. */
export const command = defineCommand({
  name: "merge",
  otherNames: ["fuse", "apply", "export-lora"],
  summary: "Add adapters to a model's weights and write the result",
  example: "randlora merge HuggingFaceTB/SmolLM2-135M-Instruct my-adapter --out smollm2-mine",
  arguments: {
    base: optional(
      "BASE",
      "the model: a folder or one of its files, org/name on the Hub, or embedded; a run stands for its base and adapter",
    ),
    adapters: several("ADAPTER", "an adapter: a PEFT folder, an adapter.json, a run, or org/name on the Hub"),
  },
  options: MERGE_OPTIONS,
  // What most people need; the rest is in --help-all.
  shown: [
    "out",
    "dtype",
    "outtype",
    "force",
    "scale",
    "combine",
    "density",
    "rounding",
    "generator",
    "unmerge",
    "verify",
    "dryRun",
  ],
  async run({ base, adapters }, options, context) {
    const { mergeToFiles } = await import("../src/adapters/merge/to-files/merge-command.ts");
    await mergeToFiles(base, adapters, options, context);
  },
});
