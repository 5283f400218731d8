import { defineCommand, flag, integer, numbers, repeat, text } from "../src/terminal/options/command.ts";
import { BASE_ARGUMENT, IMAGE_OPTIONS, SAMPLE_OPTIONS } from "../src/measure/analyze/options.ts";
import { generatorOption } from "../src/terminal/options/shared/adapters.ts";
import { HEAD_OPTIONS } from "../src/measure/images/head-options.ts";

/** Points along each axis: passes over all samples are their square. */
const MOST_POINTS = 1000;

/** `randlora analyze plane`. */
export const planeCommand = defineCommand({
  name: "plane",
  summary: "Show the loss in the plane of weights through three fine-tuned models",
  example: "randlora analyze plane embedded --at runs/randlora --at runs/full --at runs/lora --data valid.jsonl",
  arguments: { model: BASE_ARGUMENT },
  options: {
    at: repeat(
      text({
        value: "A",
        topic: "Adapters",
        help: "corner of the plane, given three times for (0, 0), (0.5, 1), (1, 0): an adapter, a run, or a full model",
      }),
    ),
    generator: generatorOption("Adapters"),
    ...SAMPLE_OPTIONS,
    samples: integer({
      topic: "Data",
      help: "number of samples: the first ones, of images a random choice",
      min: 1,
      defaultText: "all",
    }),
    ...HEAD_OPTIONS,
    grid: integer({ topic: "Plane", help: "number of points along each axis", min: 1, max: MOST_POINTS, default: 25 }),
    range: numbers({
      value: "X0,X1,Y0,Y1",
      topic: "Plane",
      help: "range of both axes, from X0 to X1 and from Y0 to Y1, without the ends",
      length: 4,
      default: [-1, 1.5, -0.5, 2],
    }),
    out: text({
      short: "o",
      value: "FILE",
      topic: "Output",
      help: "JSON file that each point is written to as it is measured",
    }),
    resume: flag({ topic: "Output", help: "continue from the points in FILE" }),
    svg: IMAGE_OPTIONS.svg,
    force: flag({ topic: "Output", help: "replace an existing figure or FILE" }),
  },
  async run({ model }, options, context) {
    const { analyzePlane } = await import("../src/measure/analyze/plane/plane-command.ts");
    await analyzePlane(model, options, context);
  },
});
