import { BASE_ARGUMENT, CKA_OPTIONS, PLANE_OPTIONS } from "../src/measure/analyze/options.ts";
import { defineCommand, defineGroup } from "../src/terminal/options/command.ts";

/** `randlora analyze cka`. */
const ckaCommand = defineCommand({
  name: "cka",
  summary: "Compare the representations of adapters with a reference's, block by block",
  example:
    "randlora analyze cka embedded --reference runs/full --adapter runs/lora --adapter runs/randlora --data chats.jsonl",
  arguments: { model: BASE_ARGUMENT },
  options: CKA_OPTIONS,
  async run({ model }, options, context) {
    const { analyzeCka } = await import("../src/measure/analyze/cka/cka-command.ts");
    await analyzeCka(model, options, context);
  },
});

/** `randlora analyze plane`. */
const planeCommand = defineCommand({
  name: "plane",
  summary: "Show the loss in the plane through three fine-tuned models",
  example: "randlora analyze plane embedded --at runs/randlora --at runs/full --at runs/lora --data valid.jsonl",
  arguments: { model: BASE_ARGUMENT },
  options: PLANE_OPTIONS,
  async run({ model }, options, context) {
    const { analyzePlane } = await import("../src/measure/analyze/plane/plane-command.ts");
    await analyzePlane(model, options, context);
  },
});

/** `randlora analyze`. */
export const command = defineGroup({
  name: "analyze",
  otherNames: ["analyse", "cka", "plane", "landscape"],
  summary: "Look at what fine-tuning made of a model: its representations, its loss",
  commands: [ckaCommand, planeCommand],
});
