import * as v from "valibot";
import { DEFAULT_SAMPLING, type SamplingOptions } from "../generation/sampling.ts";
import { badField, renaming } from "./api-error.ts";
import { type ChatRequest, readChatRequest } from "./chat-request.ts";
import { DIMENSIONS, type EmbeddingRequest, textsToEmbed } from "./completion-request.ts";
import { readFields, type RequestDefaults } from "./fields.ts";
import { IDLE_OPTIONS, optional } from "./schemas.ts";

/** Names of Ollama's options, and what they are called here. */
const OPTIONS: ReadonlyMap<string, string> = new Map([
  ["temperature", "temperature"],
  ["top_k", "top_k"],
  ["top_p", "top_p"],
  ["min_p", "min_p"],
  ["repeat_penalty", "repeat_penalty"],
  ["repeat_last_n", "repeat_last_n"],
  ["presence_penalty", "presence_penalty"],
  ["frequency_penalty", "frequency_penalty"],
  ["seed", "seed"],
  ["stop", "stop"],
  ["num_predict", "max_tokens"],
]);

const NAMES = new Map(Array.from(OPTIONS, ([name, ours]) => [ours, `options.${name}`]));

/** What Ollama's API calls a field of a chat. */
export function nameInOllama(field: string): string {
  return NAMES.get(field) ?? field.replace(/^response_format.*/, "format").replace(/\.reasoning_content$/, ".thinking");
}

/** Ollama's own, where neither a request, the command line nor the model says anything. */
export const OLLAMA_SAMPLING: SamplingOptions = { ...DEFAULT_SAMPLING, topP: 0.9, minP: 0, repeatPenalty: 1.1 };

type Options = Readonly<Record<string, unknown>>;

const COMMON = {
  model: optional(v.string()),
  stream: optional(v.boolean()),
  options: optional(v.record(v.string(), v.unknown())),
  format: optional(v.union([v.picklist(["", "json"]), v.record(v.string(), v.unknown())])),
  think: optional(v.union([v.boolean(), v.picklist(["low", "medium", "high"])])),
  /** How long a model stays loaded: it always does. */
  keep_alive: v.optional(v.unknown()),
} as const;

type Common = v.InferOutput<v.ObjectSchema<typeof COMMON, undefined>>;

const Chat = v.looseObject({
  ...COMMON,
  messages: v.array(v.looseObject({ role: v.string() })),
  tools: v.optional(v.unknown()),
});
const Generate = v.looseObject({ ...COMMON, prompt: optional(v.string()), system: optional(v.string()) });

const Embed = v.looseObject({
  model: COMMON.model,
  input: v.union([v.string(), v.array(v.string())]),
  truncate: optional(v.boolean()),
  dimensions: DIMENSIONS,
  options: COMMON.options,
  keep_alive: COMMON.keep_alive,
});

const OldEmbed = v.looseObject({
  model: COMMON.model,
  prompt: v.string(),
  options: COMMON.options,
  keep_alive: COMMON.keep_alive,
});

/** What Ollama's `/api/embed` is asked for: what is too long is cut unless it says otherwise. @throws ApiError 400 naming the field */
export function readOllamaEmbed(body: unknown): EmbeddingRequest {
  const { model, input, truncate = true, dimensions, options } = readFields(Embed, body);
  const texts = typeof input === "string" ? textOf(input) : input;
  return embeddingsOf({ model, options }, { texts, dimensions, truncates: truncate, field: "input" });
}

/** What Ollama's `/api/embeddings` is asked for: one text, cut where it is too long. @throws ApiError 400 naming the field */
export function readOllamaEmbedding(body: unknown): EmbeddingRequest {
  const { model, prompt, options } = readFields(OldEmbed, body);
  return embeddingsOf(
    { model, options },
    { texts: textOf(prompt), dimensions: undefined, truncates: true, field: "prompt" },
  );
}

/** An empty text only loads the model in Ollama: nothing is embedded. */
function textOf(text: string): readonly string[] {
  return text === "" ? [] : [text];
}

function embeddingsOf(
  { model, options = {} }: { readonly model: string | undefined; readonly options: Options | undefined },
  {
    texts,
    ...more
  }: Pick<EmbeddingRequest, "dimensions" | "truncates" | "field"> & { readonly texts: readonly string[] },
): EmbeddingRequest {
  // No sampling changes a vector; what is none is refused all the same.
  samplingOf(options);
  return { model: bare(model), prompts: textsToEmbed(texts, more.field), encoding: "float", user: "", ...more };
}

/** What Ollama's `/api/chat` is asked for, as a request for a chat. @throws ApiError 400 naming the field */
export function readOllamaChat(body: unknown, defaults: RequestDefaults): ChatRequest {
  const fields = readFields(Chat, body);
  const messages = fields.messages.map(({ images, thinking, tool_name, ...message }, index) => {
    if (Array.isArray(images) && images.length > 0)
      throw badField(`messages.${index}.images`, "not supported by this server");
    return { ...message, ...(thinking === undefined ? {} : { reasoning_content: thinking }), ...named(tool_name) };
  });
  const { tools } = fields;
  return chatOf(fields, messages, defaults, tools === undefined ? {} : { tools });
}

/** What Ollama's `/api/generate` is asked for: a chat of one message, of none where the prompt is empty. @throws ApiError 400 naming the field */
export function readOllamaGenerate(body: unknown, defaults: RequestDefaults): ChatRequest {
  const { prompt = "", system = "", ...fields } = readFields(Generate, body);
  const before = system === "" ? [] : [{ role: "system", content: system }];
  return chatOf(fields, prompt === "" ? [] : [...before, { role: "user", content: prompt }], defaults);
}

/** Without a message Ollama only loads the model: here, where that is there, a chat of none is answered with its end. */
function chatOf(
  fields: Common,
  messages: readonly object[],
  defaults: RequestDefaults,
  more: object = {},
): ChatRequest {
  const said = messages.length === 0 ? [{ role: "user" }] : messages;
  const usual = { ...defaults, endpoint: OLLAMA_SAMPLING };
  const chat = { ...commonOf(fields), ...more, messages: said };
  const request = renaming(nameInOllama, () => readChatRequest(chat, usual));
  return { ...request, messages: request.messages.slice(0, messages.length), mustThink: Boolean(fields.think) };
}

function named(name: unknown): object {
  return name === undefined ? {} : { name };
}

/** Ollama's name of a model without the tag that it adds to one without any. */
export function bare(model: string | undefined): string | undefined {
  return model?.replace(/:latest$/, "");
}

function commonOf({ model, stream = true, options = {}, format = "", think }: Common): object {
  const effort = typeof think === "string" ? { reasoning_effort: think } : {};
  const schema = format === "json" ? { type: "json_object" } : { type: "json_schema", json_schema: { schema: format } };
  return {
    model: bare(model),
    stream,
    ...samplingOf(options),
    ...(format === "" ? {} : { response_format: schema }),
    ...(think === undefined ? {} : { chat_template_kwargs: { enable_thinking: think !== false, ...effort } }),
  };
}

/** Ollama's options by our names. @throws ApiError 400 for one that is not known */
function samplingOf(options: Options): object {
  const sampling: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    const ours = OPTIONS.get(name);
    if (value === null || IDLE_OPTIONS.get(name)?.(value) === true) continue;
    if (ours === undefined)
      throw badField(`options.${name.slice(0, 60)}`, "not supported by this server", "unsupported_parameter");
    // Ollama's -2 is "up to the context's end".
    sampling[ours] = name === "num_predict" && value === -2 ? -1 : value;
  }
  return sampling;
}
