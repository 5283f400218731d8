import { Contradiction } from "../../files/errors.ts";
import {
  choice,
  flag,
  integer,
  numbers,
  type OptionValues,
  repeat,
  required,
  text,
} from "../../terminal/options/command.ts";
import { generatorOption } from "../../terminal/options/shared/model.ts";
import { HEAD_OPTIONS } from "../images/options.ts";
import { ESTIMATORS } from "./cka/cka.ts";
import { flagName } from "../../terminal/options/names.ts";

const topic = "Data";

/** What both analyses are of. */
export const BASE_ARGUMENT = required(
  "MODEL",
  "the model: a folder or one of its files, a run, org/name on the Hub, or embedded",
);

/** What both analyses are told of data. */
const SAMPLE_OPTIONS = {
  data: text({
    value: "FILE|DIR",
    topic,
    help: "samples, or images, as finetune has them; of a folder test, else valid, else train",
  }),
  dataset: text({ value: "NAME", topic, help: "named image dataset: class names and prompts of --data" }),
  split: choice(["train", "valid", "test"], {
    topic,
    help: "split of the images",
    defaultText: "test, else valid, else train",
  }),
  maxLength: integer({
    value: "L",
    topic,
    help: "maximum sample length in tokens; longer samples are cut",
    min: 2,
    defaultText: "1024, or the model's context if smaller",
  }),
} as const;

/** Flags that say nothing of a model of texts, or nothing of one of images. @throws RandloraError `usage` */
export function refuseForeign(
  isOfImages: boolean,
  flags: { readonly texts: Readonly<Record<string, unknown>>; readonly images: Readonly<Record<string, unknown>> },
): void {
  const [kind, foreign] = isOfImages ? ["images", flags.texts] : ["texts", flags.images];
  const given = Object.entries(foreign).find(([, value]) => value !== undefined)?.[0];
  if (given === undefined) return;
  const cause = `--${flagName(given)}: MODEL is a model of ${kind}, which has no such thing`;
  throw new Contradiction([given], cause, "leave it out");
}

/** Where both analyses put a figure. */
const IMAGE_OPTIONS = {
  svg: text({ value: "FILE", topic: "Output", help: "SVG file for a figure" }),
  force: flag({ topic: "Output", help: "replace an existing output" }),
} as const;

/** The options of `randlora analyze cka`. */
export const CKA_OPTIONS = {
  reference: text({
    value: "R",
    topic: "Adapters",
    help: "reference to compare with: an adapter, a run, or a full model fine-tuned from MODEL",
  }),
  adapter: repeat(
    text({
      value: "A",
      topic: "Adapters",
      help: "adapter, run or full model to compare with the reference",
    }),
  ),
  generator: generatorOption("Adapters"),
  ...SAMPLE_OPTIONS,
  samples: integer({
    topic: "Data",
    help: "number of samples: the first ones; of images a random choice",
    min: 4,
    default: 512,
  }),
  estimator: choice(ESTIMATORS, {
    topic: "Estimate",
    help: "estimator of CKA: minibatch (unbiased) or full (all samples at once, biased upwards)",
    default: "minibatch",
  }),
  batchSize: integer({
    value: "B",
    topic: "Estimate",
    help: "number of samples in a batch, with --estimator minibatch",
    min: 4,
    defaultText: "64",
  }),
  ...IMAGE_OPTIONS,
} as const;

export type CkaFlags = OptionValues<typeof CKA_OPTIONS>;

/** Points along each axis: passes over all samples are their square. */
const MOST_POINTS = 1000;

/** The options of `randlora analyze plane`. */
export const PLANE_OPTIONS = {
  at: repeat(
    text({
      value: "A",
      topic: "Adapters",
      help: "corner of the plane, in order (0, 0), (0.5, 1), (1, 0): an adapter, a run, or a full model",
    }),
  ),
  generator: generatorOption("Adapters"),
  ...SAMPLE_OPTIONS,
  samples: integer({
    topic: "Data",
    help: "number of samples: the first ones; of images a random choice",
    min: 1,
    defaultText: "all",
  }),
  ...HEAD_OPTIONS,
  grid: integer({ topic: "Plane", help: "number of points along each axis", min: 1, max: MOST_POINTS, default: 25 }),
  range: numbers({
    value: "X0,X1,Y0,Y1",
    topic: "Plane",
    help: "range of both axes, without the ends X1 and Y1",
    length: 4,
    default: [-1, 1.5, -0.5, 2],
  }),
  out: text({
    short: "o",
    value: "FILE",
    topic: "Output",
    help: "file that points are written to as they are measured",
  }),
  resume: flag({ topic: "Output", help: "continue from the points in FILE" }),
  svg: IMAGE_OPTIONS.svg,
  force: flag({ topic: "Output", help: "replace an existing output" }),
} as const;

export type PlaneFlags = OptionValues<typeof PLANE_OPTIONS>;
