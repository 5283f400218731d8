import {
  choice,
  flag,
  integer,
  number,
  type OptionValues,
  repeat,
  text,
  toggle,
} from "../../terminal/options/command.ts";
import { ADAPTER_OPTIONS, contextOption, kvTypeOption, quantizeOption } from "../../terminal/options/shared/model.ts";
import { POOLINGS } from "../generation/embedding.ts";
import { MAX_TEMPERATURE } from "../generation/sampling.ts";
import { TEMPLATE_OPTIONS } from "../options.ts";

/** The options of `randlora serve`. */
export const SERVE_OPTIONS = {
  host: text({ topic: "Server", help: "address to listen on; 0.0.0.0 for all", default: "127.0.0.1" }),
  port: integer({
    topic: "Server",
    help: "port to listen on; 0 takes a free one",
    min: 0,
    max: 65535,
    default: 8080,
  }),
  apiKey: text({
    value: "KEY",
    topic: "Server",
    help: "API key that clients must send; process lists show it, unless it is set as RANDLORA_API_KEY",
  }),
  apiKeys: text({
    value: "FILE",
    topic: "Server",
    help: "JSON file of further API keys: a list of objects with key, name, requests_per_minute, tokens_per_minute, parallel",
  }),
  trustedProxy: repeat(
    text({
      value: "ADDRESS",
      topic: "Server",
      help: "proxy, or network, whose Forwarded or X-Forwarded-For header is believed",
    }),
  ),
  parallel: integer({
    value: "N",
    topic: "Server",
    help: "number of slots: requests decoded at once",
    min: 1,
    max: 256,
    default: 4,
  }),
  queueLength: integer({
    topic: "Server",
    help: "maximum number of waiting requests; more get status 429",
    min: 1,
    default: 128,
  }),
  slots: flag({ topic: "Server", help: "answer GET /slots: number of tokens in each slot" }),
  adapter: repeat(text({ value: "NAME=A", topic: "Adapters", help: "adapter to serve, as NAME" })),
  adapterDir: text({
    value: "DIR",
    topic: "Adapters",
    help: "folder of adapters that clients request by folder name; with --api-key also load and unload",
  }),
  maxAdapters: integer({
    value: "N",
    topic: "Adapters",
    help: "maximum number of adapters in device memory; the least recently requested is evicted",
    min: 1,
    defaultText: "8",
  }),
  merge: toggle({
    topic: "Adapters",
    help: "merge adapters into the weights: faster for one, but requests for different ones wait for each other; --no-merge applies them beside",
    defaultText: "with a single adapter, without --adapter-dir and --quantize",
  }),
  ...ADAPTER_OPTIONS,
  system: text({ topic: "Text", help: "system message of conversations that have none" }),
  ...TEMPLATE_OPTIONS,
  context: contextOption({
    topic: "Answers",
    help: "context length of a slot in tokens (KV cache)",
    defaultText: "the model's own",
  }),
  maxTokens: integer({
    topic: "Answers",
    help: "default of max_tokens; a request's -1 is up to the context's end",
    min: 1,
    defaultText: "generation_config.json's, else 4096",
  }),
  temperature: number({
    value: "T",
    topic: "Answers",
    help: "default of temperature",
    min: 0,
    max: MAX_TEMPERATURE,
    defaultText: "generation_config.json's, else 0.8",
  }),
  topK: integer({
    value: "K",
    topic: "Answers",
    help: "default of top_k",
    min: 0,
    defaultText: "generation_config.json's, else 40",
  }),
  topP: number({
    value: "P",
    topic: "Answers",
    help: "default of top_p",
    above: 0,
    max: 1,
    defaultText: "generation_config.json's, else 0.95",
  }),
  minP: number({
    value: "P",
    topic: "Answers",
    help: "default of min_p",
    min: 0,
    max: 1,
    defaultText: "generation_config.json's, else 0.05",
  }),
  pooling: choice(POOLINGS, {
    topic: "Answers",
    help: "pooling of embeddings: mean of all tokens' hidden states, or the last token's",
    default: "mean",
  }),
  quantize: quantizeOption({ topic: "Model" }),
  kvType: kvTypeOption("f16"),
};

/** What `randlora serve` is told. */
export type ServeFlags = OptionValues<typeof SERVE_OPTIONS>;

/** @json serve */
export interface ServeJson {
  readonly address: string;
  readonly models: readonly string[];
  /** Memory at most, without adapters loaded later and the processes that read requests. */
  readonly planned_bytes: number;
}
