import { BASE_ARGUMENT, PLANE_OPTIONS } from "../src/measure/analyze/options.ts";
import { defineCommand } from "../src/terminal/options/command.ts";

/** `randlora analyze plane`. */
export const planeCommand = defineCommand({
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
