import { METHOD_NAMES } from "../../adapters/method-names.ts";
import { USUAL_DATE } from "../../data/text/samples/date.ts";
import { PROMPTS } from "../../data/text/commonsense-prompt.ts";
import {
  choice,
  flag,
  integer,
  number,
  numbers,
  optional,
  optionalText,
  text,
  toggle,
} from "../../terminal/options/command.ts";
import { mapped, type ValueOf } from "../../terminal/options/option.ts";
import { quantizeOption } from "../../terminal/options/shared/model.ts";
import { ADAPTER_OPTIONS } from "./adapter-options.ts";
import { IMAGE_OPTIONS } from "./image-options.ts";
import { dateOption, pathOption } from "./readers.ts";
import { SCHEDULES } from "./schedule.ts";
import { setting } from "./setting.ts";

/** The part of the table that any run records, in run.json's order. */
export const RUN_OPTIONS = {
  data: setting(
    pathOption({
      value: "FILE|DIR",
      topic: "Data",
      help: "training data: JSONL, JSON, parquet, CSV, TSV, text, or a pattern of files; a folder with train.jsonl, or with images in train/CLASS/",
    }),
    { compare: "all" },
  ),
  valid: setting(
    pathOption({
      value: "FILE|DIR",
      topic: "Data",
      help: "validation data",
      defaultText: "valid.jsonl or valid/ of the folder",
    }),
    { usual: null, compare: "all" },
  ),
  validSplit: setting(
    number({
      value: "F",
      topic: "Data",
      help: "fraction of the data held out for validation",
      above: 0,
      max: 1,
      defaultText: "none",
    }),
    { usual: null, compare: "all" },
  ),
  dtype: setting(
    choice(["keep", "f32", "f16", "bf16"], { topic: "Base model", help: "number format of the weight matrices" }),
    { usual: "keep", compare: "all" },
  ),
  quantize: setting(quantizeOption({ topic: "Base model" }), { usual: null, earlier: null, compare: "method" }),
  steps: setting(
    integer({ topic: "Training", help: "training steps", min: 1, defaultText: "one epoch" }),
    // With a constant schedule a resumed run may have more.
    { usual: null, compare: "all" },
  ),
  epochs: setting(
    integer({
      topic: "Training",
      help: "number of passes over the training data (instead of --steps)",
      min: 1,
      defaultText: "1",
    }),
    { orNull: true, compare: "all" },
  ),
  batchSize: setting(
    integer({
      value: "B",
      topic: "Training",
      help: "samples in a micro-batch",
      min: 1,
      defaultText: "4; images 32",
    }),
    { compare: "all" },
  ),
  gradAccum: setting(
    integer({
      value: "G",
      topic: "Training",
      help: "micro-batches per step (gradient accumulation)",
      min: 1,
    }),
    { usual: 1, compare: "all" },
  ),
  shards: setting(
    integer({
      value: "S",
      topic: "Training",
      help: "number of shards of a step, a power of two, for processes of mpirun or srun",
      min: 1,
      defaultText: "1; the number of processes",
    }),
    { usual: 1, earlier: 1, compare: "all" },
  ),
  maxLength: setting(
    integer({
      value: "L",
      topic: "Data",
      help: "maximum sample length in tokens; longer samples are cut",
      min: 2,
      defaultText: "1024, with --prompt 256, or the model's context if smaller",
    }),
    { orNull: true, compare: "all", only: "texts" },
  ),
  packing: setting(
    toggle({ topic: "Data", help: "pack several samples into one sequence; they do not see each other" }),
    { usual: false, compare: "all", only: "texts" },
  ),
  trainOnPrompt: setting(toggle({ topic: "Data", help: "include prompts and user turns in the loss" }), {
    usual: false,
    compare: "all",
    only: "texts",
  }),
  prompt: setting(
    choice(PROMPTS, {
      value: "NAME",
      topic: "Data",
      help: "prompt format of instruction data: commonsense (LLM-Adapters'), all in the loss",
      defaultText: "chat turns; the loss covers the answer",
    }),
    { usual: null, earlier: null, compare: "all", only: "texts" },
  ),
  date: setting(
    dateOption({ topic: "Data", help: "date that chat templates which write one are told", defaultText: USUAL_DATE }),
    { orNull: true, earlier: null, compare: "all", only: "texts" },
  ),
  learningRate: setting(
    number({
      value: "LR",
      topic: "Training",
      help: "peak learning rate",
      min: 0,
      defaultText: "1e-4; vera 1e-2; nola 3e-4; pranc 3e-2; images 1e-3 at least; full less for large models",
    }),
    {},
  ),
  schedule: setting(
    choice(SCHEDULES, { topic: "Training", help: "learning rate schedule", defaultText: "linear; images cosine" }),
    { compare: "all" },
  ),
  warmup: setting(integer({ topic: "Training", help: "warmup steps", min: 0 }), {
    usual: 0,
    compare: "all",
  }),
  weightDecay: setting(number({ value: "W", topic: "Training", help: "weight decay of AdamW", min: 0 }), {
    usual: 0,
    compare: "all",
  }),
  betas: setting(
    mapped(
      numbers({ value: "B1,B2", topic: "Training", help: "β1 and β2 of AdamW", min: 0, max: 0.999999, length: 2 }),
      ([beta1 = 0, beta2 = 0]): [number, number] => [beta1, beta2],
    ),
    { usual: [0.9, 0.999], compare: "all" },
  ),
  eps: setting(number({ value: "E", topic: "Training", help: "ε of AdamW", above: 0, defaultText: "1e-8" }), {
    usual: 1e-8,
    compare: "all",
  }),
  gradClip: setting(
    number({ value: "C", topic: "Training", help: "maximum gradient norm (clipping); 0 disables it", min: 0 }),
    { usual: 1, compare: "all" },
  ),
  seed: setting(
    integer({ value: "S", topic: "Training", help: "random seed for data order, initialization and dropout", min: 0 }),
    { usual: 0, compare: "all" },
  ),
  checkpointActivations: setting(
    toggle({
      topic: "Training",
      help: "recompute activations instead of keeping them (also with --resume)",
      defaultText: "only if memory would not suffice",
    }),
    { usual: false, compare: "all", resume: "both" },
  ),
  evalEvery: setting(
    integer({ topic: "Run", help: "steps between validations", min: 1, defaultText: "5 to 20 a run" }),
    { usual: null, compare: "all", resume: "run", needs: "validation" },
  ),
  validBatches: setting(integer({ topic: "Run", help: "batches of a validation", min: 1, defaultText: "all" }), {
    usual: null,
    earlier: null,
    compare: "all",
    needs: "validation",
  }),
  saveEvery: setting(
    integer({ topic: "Run", help: "steps between checkpoints", min: 1, defaultText: "about a minute" }),
    { usual: null, compare: "all", resume: "both" },
  ),
  keep: setting(integer({ topic: "Run", help: "training states to keep; one more if interrupted", min: 1 }), {
    usual: 1,
    compare: "all",
    resume: "both",
  }),
  earlyStop: setting(
    integer({
      topic: "Run",
      help: "stop after N validations without a lower loss",
      min: 1,
      defaultText: "never",
    }),
    { usual: 0, compare: "all" },
  ),
  logDir: setting(
    pathOption({
      value: "DIR",
      topic: "Run",
      help: "folder for TensorBoard event files, one a run",
    }),
    { usual: null, earlier: null, resume: "run" },
  ),
} as const;

const { data, ...more } = RUN_OPTIONS;

/** What `finetune` and `compare` train. */
export const MODEL_ARGUMENT = optional(
  "MODEL",
  "the model: a folder or one of its files, org/name on the Hub, or embedded; without MODEL and --data: embedded, on data of its own",
);

/** The options of `randlora finetune`, in help's order of topics. */
export const FINETUNE_OPTIONS = {
  data,
  method: choice(METHOD_NAMES, {
    topic: "Method",
    help: "method: an adapter (hybrid is RandLoRA plus LoRA), or full for all weights",
    defaultText: METHOD_NAMES[0],
  }),
  ...ADAPTER_OPTIONS,
  ...more,
  noShuffle: setting(toggle({ topic: "Data", help: "keep the data in file order" }), { compare: "all" }),
  out: text({
    value: "RUN",
    short: "o",
    topic: "Run",
    help: "run folder to write",
    defaultText: "runs/<model>-<method>-<number>",
  }),
  resume: optionalText({
    value: "RUN",
    topic: "Run",
    help: "resume a run from its last training state; without RUN, the newest under runs/",
  }),
  dryRun: flag({ topic: "Run", help: "show trainable parameters, steps and memory without training" }),
  ...IMAGE_OPTIONS,
} as const;

/** What was given on the command line, in the environment or in a file. */
export type FinetuneOptions = { readonly [K in keyof typeof FINETUNE_OPTIONS]: ValueOf<(typeof FINETUNE_OPTIONS)[K]> };
