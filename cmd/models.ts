import { defineCommand } from "../src/terminal/options/command.ts";

/** `randlora models`: which kinds of models can be run. */
export const command = defineCommand({
  name: "models",
  summary: "List the kinds of models that can be run, fine-tuned and merged",
  example: "randlora models",
  arguments: {},
  options: {},
  async run(_args, _options, context) {
    const { modelsJson, modelsText } = await import("../src/measure/inspect/models.ts");
    context.result(modelsJson(), () => modelsText(context));
  },
});
