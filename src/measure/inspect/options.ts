import { flag, type OptionValues, text } from "../../terminal/options/command.ts";
import { generatorOption } from "../../terminal/options/shared/model.ts";
import { layersOption } from "../../train/settings/readers.ts";

/** The options of `randlora inspect`. */
export const INSPECT_OPTIONS = {
  base: text({
    value: "MODEL",
    topic: "Adapter",
    help: "base model of the adapter",
    defaultText: "the one that the adapter names",
  }),
  spectrum: flag({ topic: "ΔW", help: "show the singular values and the rank of each ΔW" }),
  intruders: flag({ topic: "ΔW", help: "count intruder dimensions, too" }),
  svg: text({ value: "FILE", topic: "ΔW", help: "SVG file for a figure of the singular values" }),
  force: flag({ topic: "ΔW", help: "replace an existing output" }),
  against: text({ value: "OTHER", topic: "ΔW", help: "adapter to measure the distance to, by module and in all" }),
  layers: layersOption({ topic: "ΔW", help: "layers to look at: indices and ranges" }),
  generator: generatorOption("ΔW"),
} as const;

export type InspectFlags = OptionValues<typeof INSPECT_OPTIONS>;
