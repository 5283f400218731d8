import { ADAPTER_OPTIONS, contextOption, kvTypeOption, quantizeOption } from "../terminal/options/shared/model.ts";
import {
  choice,
  flag,
  integer,
  json,
  number,
  optional,
  type OptionValues,
  repeat,
  text,
  toggle,
} from "../terminal/options/command.ts";
import { DEFAULT_SAMPLING, MAX_TEMPERATURE } from "./generation/sampling.ts";

/** The model that is talked to, or measured. */
export const MODEL_ARGUMENT = optional(
  "MODEL",
  "the model: a folder or one of its files, a run, org/name on the Hub, or embedded; default: the newest run or merged model here, else embedded",
);

/** How messages become texts. */
export const TEMPLATE_OPTIONS = {
  chatTemplate: text({ value: "FILE", topic: "Text", help: "chat template (Jinja)", defaultText: "the model's own" }),
  chatTemplateKwargs: json({
    topic: "Text",
    help: 'variables for the chat template, such as {"enable_thinking": false}',
  }),
};

/** The options of `randlora chat`. */
export const CHAT_OPTIONS = {
  prompt: text({
    short: "p",
    topic: "Text",
    help: "prompt: print one answer and exit, without reading stdin",
    defaultText: "what comes on stdin; on a terminal a conversation",
  }),
  system: text({ topic: "Text", help: "system message" }),
  raw: toggle({
    topic: "Text",
    help: "continue the prompt as it stands, without chat template",
    defaultText: "as the run's samples were written out",
  }),
  ...TEMPLATE_OPTIONS,
  adapter: repeat(text({ value: "A", topic: "Adapters", help: "adapter to add" })),
  ...ADAPTER_OPTIONS,
  maxTokens: integer({
    short: "n",
    topic: "Answers",
    help: "maximum number of tokens in an answer",
    min: 1,
    defaultText: "up to the context's end",
  }),
  temperature: number({
    value: "T",
    topic: "Answers",
    help: "sampling temperature; 0: always the most likely token",
    min: 0,
    max: MAX_TEMPERATURE,
    default: DEFAULT_SAMPLING.temperature,
  }),
  topK: integer({
    value: "K",
    topic: "Answers",
    help: "top-k sampling: number of tokens to choose from; 0 disables it",
    min: 0,
    default: DEFAULT_SAMPLING.topK,
  }),
  topP: number({
    value: "P",
    topic: "Answers",
    help: "top-p sampling: cumulative probability of the tokens to choose from",
    above: 0,
    max: 1,
    default: DEFAULT_SAMPLING.topP,
  }),
  minP: number({
    value: "P",
    topic: "Answers",
    help: "min-p sampling: minimum probability relative to the most likely token",
    min: 0,
    max: 1,
    default: DEFAULT_SAMPLING.minP,
  }),
  repeatPenalty: number({
    value: "R",
    topic: "Answers",
    help: "repetition penalty; 1 disables it",
    above: 0,
    default: DEFAULT_SAMPLING.repeatPenalty,
  }),
  presencePenalty: number({
    topic: "Answers",
    help: "presence penalty: subtracted from the logits of recent tokens",
    default: DEFAULT_SAMPLING.presencePenalty,
  }),
  frequencyPenalty: number({
    topic: "Answers",
    help: "frequency penalty: the same for each recent occurrence",
    default: DEFAULT_SAMPLING.frequencyPenalty,
  }),
  beams: integer({
    value: "N",
    topic: "Answers",
    help: "number of beams of a beam search; the answer is printed at its end",
    min: 1,
    max: 64,
    default: 1,
  }),
  seed: integer({
    value: "S",
    topic: "Answers",
    help: "random seed of sampling",
    min: -1,
    defaultText: "-1: a new one each time",
  }),
  stop: repeat(text({ topic: "Answers", help: "stop sequence: the answer ends before this text" })),
  context: contextOption({
    topic: "Answers",
    help: "context length in tokens (KV cache)",
    defaultText: "the model's own",
  }),
  shift: flag({
    topic: "Answers",
    help: "forget the oldest tokens when the context is full, instead of ending",
  }),
  dtype: choice(["keep", "f32", "f16", "bf16"], {
    topic: "Model",
    help: "number format of the weight matrices",
    default: "keep",
  }),
  quantize: quantizeOption({ topic: "Model" }),
  kvType: kvTypeOption("f16"),
};

/** What `randlora chat` is told. */
export type ChatFlags = OptionValues<typeof CHAT_OPTIONS>;
