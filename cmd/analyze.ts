import { defineGroup } from "../src/terminal/options/command.ts";
import { ckaCommand } from "./analyze-cka.ts";
import { planeCommand } from "./analyze-plane.ts";

/** `randlora analyze`. */
export const command = defineGroup({
  name: "analyze",
  otherNames: ["analyse", "cka", "plane", "landscape"],
  summary: "Look at what fine-tuning made of a model: its representations, its loss",
  commands: [ckaCommand, planeCommand],
});
