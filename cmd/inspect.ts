import { defineCommand, flag, required, text } from "../src/terminal/options/command.ts";
import { generatorOption } from "../src/terminal/options/shared/adapters.ts";
import { layersOption } from "../src/train/settings/readers.ts";

/** `randlora inspect PATH`. */
export const command = defineCommand({
  name: "inspect",
  otherNames: ["info", "show", "describe"],
  summary: "Show what an adapter or a checkpoint holds",
  example: "randlora inspect my-adapter",
  arguments: {
    path: required("PATH", "an adapter or a checkpoint: a folder, a file, a run, org/name on the Hub, or embedded"),
  },
  options: {
    base: text({
      value: "MODEL",
      topic: "Adapter",
      help: "base model of the adapter",
      defaultText: "the one that it names, where that is on this machine",
    }),
    spectrum: flag({ topic: "ΔW", help: "show the singular values and the rank of each ΔW" }),
    svg: text({ value: "FILE", topic: "ΔW", help: "SVG file for a figure of the singular values" }),
    force: flag({ topic: "ΔW", help: "replace an existing figure" }),
    against: text({ value: "OTHER", topic: "ΔW", help: "adapter to measure the distance to, by module and in all" }),
    layers: layersOption({ topic: "ΔW", help: "layers to look at: indices and ranges" }),
    generator: generatorOption("ΔW"),
  },
  async run({ path }, options, context) {
    const { inspect } = await import("../src/measure/inspect/inspect-command.ts");
    await inspect(path, options, context);
  },
});
