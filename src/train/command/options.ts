import { choice, flag, integer, number, numbers, optionalText, text, toggle } from "../../terminal/options/command.ts";
import type { ValueOf } from "../../terminal/options/option.ts";
import { BLOCKS_NAMES } from "../../compute/device/dtype.ts";
import { METHOD_NAMES } from "../../adapters/method-names.ts";
import { GENERATOR_NAMES } from "../../compute/random/names.ts";
import { PROMPTS } from "../../data/text/samples/prompts.ts";
import { SCHEDULES } from "../settings/schedule.ts";
import { IMAGE_OPTIONS } from "./image-options.ts";

/** What `randlora finetune` can be told of any run. Defaults that depend on the method or the model are worked out later. */
export const RUN_OPTIONS = {
  data: text({
    value: "FILE|DIR",
    topic: "Data",
    help: "JSONL, JSON or parquet; or a folder with train.jsonl, or with images in train/CLASS/",
  }),
  valid: text({
    value: "FILE|DIR",
    topic: "Data",
    help: "validation data",
    defaultText: "valid.jsonl or valid/ of the folder",
  }),
  validSplit: number({
    value: "F",
    topic: "Data",
    help: "set this part of the data aside for validation",
    above: 0,
    max: 1,
  }),
  maxLength: integer({
    value: "L",
    topic: "Data",
    help: "cut samples to so many tokens",
    min: 2,
    defaultText: "1024, with --prompt 256, or the model's context when that is smaller",
  }),
  packing: toggle({ topic: "Data", help: "join samples into rows of --max-length; they do not see each other" }),
  noShuffle: toggle({ topic: "Data", help: "take samples in file order" }),
  prompt: choice(PROMPTS, {
    value: "NAME",
    topic: "Data",
    help: `write instructions out as this text and learn it whole: ${PROMPTS.join(", ")}`,
    defaultText: "chat turns; the loss covers the answer",
  }),
  trainOnPrompt: toggle({ topic: "Data", help: "learn prompts and users' turns as well" }),
  method: choice(METHOD_NAMES, {
    topic: "Method",
    help: "what is trained: RandLoRA, LoRA, DoRA, VeRA, NoLA, PRANC, RandLoRA and LoRA on the same weights (hybrid), or all weights",
    defaultText: METHOD_NAMES[0],
  }),
  variant: choice(["peft", "paper", "half-rank", "rank-r"], {
    topic: "Method",
    help: [
      "how RandLoRA pairs its bases: as PEFT, or as the paper's equation 4",
      "half-rank takes half of them, rank-r makes two factors of rank r",
    ].join("; "),
    defaultText: "peft",
  }),
  sparse: toggle({ topic: "Method", help: "ternary bases, two thirds of them zero" }),
  verySparse: toggle({ topic: "Method", help: "ternary bases, nearly all of them zero" }),
  rslora: toggle({ topic: "Method", help: "LoRA (alone or in a hybrid), DoRA: scale by α/√r" }),
  dora: toggle({ topic: "Method", help: "RandLoRA: train the rows' magnitudes as well (of LoRA: --method dora)" }),
  bases: integer({
    value: "K",
    topic: "Method",
    help: "NoLA: random factors in each sum; PRANC: random networks; as many coefficients are trained for each",
    min: 1,
    defaultText: "nola 1024; pranc 256",
  }),
  rank: integer({
    value: "r",
    topic: "Method",
    help: "rank of each base",
    min: 1,
    defaultText: "32; lora, dora, nola 8; vera 256",
  }),
  alpha: number({
    value: "a",
    topic: "Method",
    help: "ΔW is scaled by α/r; pranc: by α/√K",
    defaultText: "20·rank; lora, dora, nola 2·rank; pranc 1",
  }),
  loraRank: integer({
    value: "r",
    topic: "Method",
    help: "hybrid: rank of the LoRA, whose α is 2·r",
    min: 1,
    defaultText: "8",
  }),
  freezeLora: toggle({ topic: "Method", help: "hybrid: the LoRA of --init-adapter stays as it is" }),
  dInitial: number({ value: "d", topic: "Method", help: "VeRA: what λ_d begins with", defaultText: "0.1" }),
  dropout: number({
    value: "p",
    topic: "Method",
    help: "of the adapter's input",
    min: 0,
    max: 0.999,
    defaultText: "0",
  }),
  targets: text({
    value: "…",
    topic: "Method",
    help: "names of modules with commas between them, all-linear, or a regular expression",
    defaultText: "PEFT's for the architecture",
  }),
  layers: text({ value: "0-11,20", topic: "Method", help: "adapt these layers only" }),
  basisSeed: text({ value: "K", topic: "Method", help: "seed of the random bases", defaultText: "0" }),
  generator: choice(GENERATOR_NAMES, {
    value: "NAME",
    topic: "Method",
    help: `what draws the bases: ${GENERATOR_NAMES.join(", ")}`,
    defaultText: "torch-mt19937-bf16-v2; sparse: torch-mt19937-ternary; vera: torch-mt19937-f32",
  }),
  projections: choice(["yes", "no"], {
    topic: "Method",
    help: "write the bases beside the parameters; those that PEFT cannot draw are always written",
    defaultText: "yes",
  }),
  initAdapter: text({
    value: "A",
    topic: "Method",
    help: "go on training this adapter (of a method that adds to frozen weights); a LoRA with --method hybrid, too",
  }),
  dtype: choice(["keep", "f32", "f16", "bf16"], {
    topic: "Method",
    help: "how the frozen base is held",
    defaultText: "keep",
  }),
  quantize: choice(BLOCKS_NAMES, {
    topic: "Method",
    help: "hold the frozen linear layers in blocks of 32 numbers of 8 or 4 bits, as llama.cpp's Q8_0 and Q4_0",
    defaultText: "as --dtype",
  }),
  steps: integer({ topic: "Training", help: "length of the run in steps", min: 1 }),
  epochs: integer({ topic: "Training", help: "or in passes through the data", min: 1, defaultText: "1" }),
  batchSize: integer({
    value: "B",
    topic: "Training",
    help: "rows of a micro-batch",
    min: 1,
    defaultText: "4; images 32",
  }),
  gradAccum: integer({ value: "G", topic: "Training", help: "micro-batches of a step", min: 1, defaultText: "1" }),
  learningRate: number({
    value: "LR",
    topic: "Training",
    help: "peak learning rate",
    min: 0,
    defaultText: "1e-4; vera 1e-2; nola 3e-4; pranc 3e-2; images 1e-3 at least",
  }),
  schedule: choice(SCHEDULES, {
    topic: "Training",
    help: "of the learning rate",
    defaultText: "linear; images cosine",
  }),
  warmup: integer({ topic: "Training", help: "steps over which the rate rises", min: 0, defaultText: "0" }),
  weightDecay: number({ value: "W", topic: "Training", help: "AdamW's", min: 0, defaultText: "0" }),
  betas: numbers({
    value: "B1,B2",
    topic: "Training",
    help: "AdamW's",
    min: 0,
    max: 0.999999,
    length: 2,
    defaultText: "0.9,0.999",
  }),
  eps: number({ value: "E", topic: "Training", help: "AdamW's", above: 0, defaultText: "1e-8" }),
  gradClip: number({
    value: "C",
    topic: "Training",
    help: "largest norm of the gradients; 0: any",
    min: 0,
    defaultText: "1",
  }),
  seed: integer({
    value: "S",
    topic: "Training",
    help: "of order, initial values and dropout",
    min: 0,
    defaultText: "0",
  }),
  compute: choice(["auto", "merged", "factored"], {
    topic: "Training",
    help: "order of products with random bases",
    defaultText: "auto: by flops and memory, layer by layer",
  }),
  checkpointActivations: toggle({
    topic: "Training",
    help: "recompute activations instead of keeping them; with --resume, too",
    defaultText: "only where memory would not suffice",
  }),
  out: text({
    value: "RUN",
    short: "o",
    topic: "Run",
    help: "the run's folder",
    defaultText: "runs/<model>-<method>-<number>",
  }),
  evalEvery: integer({ topic: "Run", help: "steps between validations", min: 1, defaultText: "as --save-every" }),
  saveEvery: integer({ topic: "Run", help: "steps between saves", min: 1, defaultText: "100" }),
  keep: integer({ topic: "Run", help: "states to keep for --resume", min: 1, defaultText: "1" }),
  earlyStop: integer({
    topic: "Run",
    help: "stop after N validations without a new lowest loss",
    min: 1,
    defaultText: "never",
  }),
  resume: optionalText({ value: "RUN", topic: "Run", help: "go on with a run; alone: with the newest under runs/" }),
  dryRun: flag({ topic: "Run", help: "show samples, parameters and the memory needed, and stop" }),
} as const;

/** The options of `randlora finetune`. */
export const FINETUNE_OPTIONS = { ...RUN_OPTIONS, ...IMAGE_OPTIONS } as const;

/** What was given on the command line, in the environment or in a file. */
export type FinetuneOptions = { readonly [K in keyof typeof FINETUNE_OPTIONS]: ValueOf<(typeof FINETUNE_OPTIONS)[K]> };
