import {
  choice,
  flag,
  integer,
  list,
  number,
  type OptionValues,
  repeat,
  text,
} from "../../terminal/options/command.ts";
import {
  ADAPTER_OPTIONS,
  contextOption,
  generatorOption,
  kvTypeOption,
  quantizeOption,
} from "../../terminal/options/shared/model.ts";
import { partOptions } from "../../terminal/options/shared/job.ts";
import type { ProfileJson } from "../../terminal/profile.ts";
import type { QuantizedJson } from "../../terminal/quantized.ts";

/** How an answer is compared: as text, or as the value that its JSON has. */
export const MATCHES = ["exact", "json"] as const;
export type Match = (typeof MATCHES)[number];

/** What is common to `eval perplexity` and `eval forgetting`. */
const ON_TEXTS = {
  adapter: text({ value: "A", topic: "Adapter", help: "adapter to measure the model with as well, in f32" }),
  scale: number({ value: "S", topic: "Adapter", help: "adapter scale: multiplies α/r", defaultText: "1" }),
  generator: generatorOption("Adapter"),
  quantize: quantizeOption({ topic: "Model" }),
  kvType: kvTypeOption("f32"),
  ...partOptions(),
  merged: flag({ topic: "Adapter", help: "measure the model that merge would write as well" }),
} as const;

/** The options of `randlora eval perplexity`. */
export const PERPLEXITY_OPTIONS = {
  file: text({ short: "f", value: "FILE", topic: "Text", help: "UTF-8 text file; - is stdin" }),
  context: contextOption({
    topic: "Text",
    help: "window length in tokens; windows do not overlap",
    defaultText: "1024, or the model's context if smaller",
  }),
  ...ON_TEXTS,
} as const;

export type PerplexityFlags = OptionValues<typeof PERPLEXITY_OPTIONS>;

interface FiguresJson {
  /** Mean negative log-likelihood. */
  readonly nll: number;
  readonly perplexity: number;
}

/** @json eval perplexity */
export interface PerplexityJson extends QuantizedJson, ProfileJson {
  /** Predicted tokens. */
  readonly tokens: number;
  readonly tokens_per_s: number;
  readonly base: FiguresJson;
  /** With W + ΔW in f32. */
  readonly adapted?: PerplexityJson["base"];
  /** As merge would write it. */
  readonly merged?: PerplexityJson["base"];
}

/** The options of `randlora eval forgetting`. */
export const FORGETTING_OPTIONS = {
  file: text({
    short: "f",
    value: "FILE",
    topic: "Text",
    help: "texts to measure on: data with text, or .txt with one a line",
    defaultText: "drawn from the base",
  }),
  texts: integer({
    topic: "Text",
    help: "number of texts",
    min: 1,
    max: 10_000,
    defaultText: "64 drawn, 100 of FILE",
  }),
  context: contextOption({
    topic: "Text",
    help: "maximum length of a text in tokens",
    defaultText: "257 drawn, 768 of FILE",
  }),
  seed: integer({ topic: "Text", help: "seed of the texts drawn", min: 0, max: 2 ** 52, defaultText: "0" }),
  ...ON_TEXTS,
} as const;

export type ForgettingFlags = OptionValues<typeof FORGETTING_OPTIONS>;

/** @json eval forgetting */
export interface ForgettingJson extends QuantizedJson, ProfileJson {
  readonly texts: number;
  /** Predicted tokens. */
  readonly tokens: number;
  /** Of texts that the base drew. */
  readonly seed?: number;
  /** Of the base. */
  readonly nll: number;
  /** Nats a token: adapted less base. */
  readonly forgetting: number;
  /** Standard error over texts. */
  readonly error: number | null;
  /** As merge would write it. */
  readonly merged?: Pick<ForgettingJson, "forgetting" | "error">;
  readonly tokens_per_s: number;
}

export type TextFlags = OptionValues<typeof ON_TEXTS> & { readonly file: string | undefined };

/** The options of `randlora eval chats`. */
export const CHATS_OPTIONS = {
  data: text({
    value: "FILE|DIR",
    topic: "Data",
    help: "held-out samples; of a folder test.jsonl, else valid.jsonl",
  }),
  match: choice(MATCHES, {
    topic: "Data",
    help: "compare answers as texts or JSON values",
    default: "exact",
  }),
  limit: integer({ topic: "Data", help: "number of samples, the first ones", min: 1 }),
  adapter: repeat(text({ value: "A", topic: "Adapters", help: "adapter to add" })),
  ...ADAPTER_OPTIONS,
  batchSize: integer({
    value: "B",
    topic: "Answers",
    help: "number of questions in a batch",
    min: 1,
    defaultText: "8",
  }),
  maxTokens: integer({
    short: "n",
    topic: "Answers",
    help: "maximum number of tokens in an answer",
    min: 1,
    default: 512,
  }),
  quantize: quantizeOption({ topic: "Model" }),
  kvType: kvTypeOption("f32"),
  ...partOptions(),
} as const;

export type ChatsFlags = OptionValues<typeof CHATS_OPTIONS>;

/** @json eval chats */
export interface ChatsReport {
  readonly samples: number;
  /** Supervised. */
  readonly tokens: number;
  /** As finetune's valid_loss. */
  readonly loss: number;
  readonly perplexity: number;
  readonly match: Match;
  readonly correct: number;
  /** Samples with a prompt. */
  readonly total: number;
  /** Null without any. */
  readonly accuracy: number | null;
  readonly answers: readonly ChatAnswer[];
  readonly seconds: number;
}

type AnswerEnd = "stop" | "length";

/** The last turn of a sample beside what the model writes in its place. */
export interface ChatAnswer {
  readonly line: number;
  readonly expected: string;
  readonly text: string;
  readonly finish_reason: AnswerEnd;
  readonly correct: boolean;
}

/** The options of `randlora eval commonsense`. */
export const COMMONSENSE_OPTIONS = {
  data: text({ value: "DIR", topic: "Tasks", help: "a folder with TASK/test.json" }),
  tasks: list(text({ value: "boolq,piqa,…", topic: "Tasks", help: "tasks to run", defaultText: "those in DIR" })),
  limit: integer({ topic: "Tasks", help: "number of questions of each task", min: 1 }),
  adapter: repeat(text({ value: "A", topic: "Adapters", help: "adapter to add" })),
  ...ADAPTER_OPTIONS,
  beams: integer({
    topic: "Answers",
    help: "number of beams of the beam search; 1 is greedy decoding",
    min: 1,
    max: 64,
    default: 4,
  }),
  batchSize: integer({
    value: "B",
    topic: "Answers",
    help: "number of questions in a batch",
    min: 1,
    defaultText: "8",
  }),
  paperMask: flag({ topic: "Answers", help: "mask tokens of id 0 in prompts, as LLM-Adapters' script does" }),
  maxTokens: integer({
    short: "n",
    topic: "Answers",
    help: "maximum number of tokens in an answer",
    min: 1,
    defaultText: "32",
  }),
  kvType: kvTypeOption("f32"),
  ...partOptions(),
  out: text({ short: "o", value: "FILE", topic: "Output", help: "file that answers are written to as they come" }),
  resume: flag({ topic: "Output", help: "continue from the answers in FILE" }),
  force: flag({ topic: "Output", help: "replace an existing output" }),
} as const;

export type CommonsenseFlags = OptionValues<typeof COMMONSENSE_OPTIONS>;

/** @json eval commonsense */
export interface CommonsenseJson {
  /** By name. */
  readonly tasks: Readonly<Record<string, TaskScore>>;
  /** Over tasks. */
  readonly mean: number;
  readonly seconds: number;
  /** Of answers given now. */
  readonly tokens_per_s: number;
}

/** How many answers to a task are right. */
export interface TaskScore {
  readonly correct: number;
  readonly total: number;
  /** From 0 to 1. */
  readonly accuracy: number;
}
