import { INSPECT_OPTIONS } from "../src/measure/inspect/options.ts";
import { defineCommand, required } from "../src/terminal/options/command.ts";

/** `randlora inspect PATH`. */
export const command = defineCommand({
  name: "inspect",
  otherNames: ["info", "show", "describe"],
  summary: "Show what an adapter or a checkpoint holds",
  example: "randlora inspect my-adapter",
  arguments: {
    path: required("PATH", "an adapter or a checkpoint: a folder, a file, a run, org/name on the Hub, or embedded"),
  },
  options: INSPECT_OPTIONS,
  async run({ path }, options, context) {
    const { inspect } = await import("../src/measure/inspect/inspect-command.ts");
    await inspect(path, options, context);
  },
});
