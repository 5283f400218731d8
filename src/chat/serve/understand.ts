import { type GrammarStates, statesOf } from "../grammar/states.ts";
import type { Prompt } from "./answer.ts";
import { renamed } from "./api-error.ts";
import { parseBody } from "./body.ts";
import { readChatRequest } from "./chat-request.ts";
import { type EmbeddingRequest, readCompletionRequest, readEmbeddingRequest } from "./completion-request.ts";
import { echoOf } from "./answer-text.ts";
import type { AnswerSettings, GenerationRequest, RequestDefaults } from "./fields.ts";
import { compiled } from "./format-fields.ts";
import {
  nameInOllama,
  readOllamaChat,
  readOllamaEmbed,
  readOllamaEmbedding,
  readOllamaGenerate,
} from "./ollama-request.ts";
import {
  chatPrompt,
  checkKnown,
  completionPrompts,
  type PromptOptions,
  rawChatPrompt,
  type RawModels,
  type Text,
} from "./prompt.ts";
import { nameInResponses, readResponseRequest } from "./responses-request.ts";

/** How a body is read as a request for a chat, and what the endpoint calls a chat's fields. */
const CHATS = {
  chat: { read: readChatRequest, nameOf: (field: string) => field },
  responses: { read: readResponseRequest, nameOf: nameInResponses },
  ollamaChat: { read: readOllamaChat, nameOf: nameInOllama },
  ollamaGenerate: { read: readOllamaGenerate, nameOf: nameInOllama },
} as const;

/** What a request may be for, which says how its body is read. */
export type RequestKind = keyof typeof CHATS | "completion";

const EMBEDDINGS = {
  embeddings: readEmbeddingRequest,
  ollamaEmbed: readOllamaEmbed,
  ollamaEmbedding: readOllamaEmbedding,
} as const;

/** The same of what vectors are wanted of. */
export type EmbeddingKind = keyof typeof EMBEDDINGS;

/** What requests are read with. */
export interface ReadingOptions {
  readonly prompts: PromptOptions;
  readonly defaults: RequestDefaults;
}

/** A request that was read: plain values, which may come from another process. */
export interface Understood {
  readonly settings: AnswerSettings;
  readonly prompts: readonly Omit<Prompt, "filter">[];
  /** What the answer must follow; undefined: it is free. */
  readonly grammar: GrammarStates | undefined;
  /** Special tokens that the grammar takes for the texts that they are. */
  readonly marks?: readonly number[] | undefined;
}

/**
 * Reads a request, and makes its prompts: all work that grows with what a client sends, or that a template does.
 * @throws ApiError 400 naming what is malformed, or asks for what cannot be done
 */
export async function understand(
  model: Text,
  kind: RequestKind,
  body: Uint8Array,
  raw: RawModels,
  { prompts: options, defaults }: ReadingOptions,
): Promise<Understood> {
  if (kind === "completion") {
    const request = readCompletionRequest(parseBody(body), defaults);
    const all = await completionPrompts(model, request, options);
    const prompts = request.echo
      ? all.map((ids, at) => ({ ids, echo: echoOf(model.tokenizer, ids, request.prompts[at]) }))
      : all.map((ids) => ({ ids }));
    return understood(model, request, prompts);
  }
  const { read, nameOf } = CHATS[kind];
  const request = read(parseBody(body), defaults);
  if (request.messages.length === 0) return understood(model, { ...request, grammar: undefined }, []);
  const { byDefault, ids } = raw;
  const { model: id } = request.settings;
  const isRaw = id === undefined || ids === undefined ? byDefault : ids.includes(id);
  try {
    if (isRaw) return understood(model, request, [{ ids: await rawChatPrompt(model, request, options) }]);
    const { grammar, marks, stops, ...prompt } = await chatPrompt(model, request, options);
    const settings = { ...request.settings, stops: [...request.settings.stops, ...stops] };
    return understood(model, { settings, grammar, grammarField: request.grammarField ?? "tools" }, [prompt], marks);
  } catch (error) {
    throw renamed(error, nameOf);
  }
}

/** Texts of which embeddings are wanted, as token ids: plain values, too. */
export interface EmbeddingTexts extends Omit<EmbeddingRequest, "prompts" | "truncates" | "field"> {
  readonly ids: readonly (readonly number[])[];
}

/** @throws ApiError 400 as `understand` */
export async function understandTexts(
  model: Text,
  kind: EmbeddingKind,
  body: Uint8Array,
  { prompts: options }: ReadingOptions,
): Promise<EmbeddingTexts> {
  const { prompts, truncates, field, ...request } = EMBEDDINGS[kind](parseBody(body));
  const { context } = options;
  const fitting = truncates ? await Promise.all(prompts.map((one) => cut(model, one, context - 1))) : prompts;
  return { ...request, ids: await completionPrompts(model, { prompts: fitting }, options, field) };
}

/** At most so many tokens of a text: the first ones, and the control token that its end has. */
async function cut(
  { tokenizer }: Text,
  prompt: string | readonly number[],
  most: number,
): Promise<string | readonly number[]> {
  const ids = typeof prompt === "string" ? ((await tokenizer.encodeWithin(prompt, Infinity)) ?? []) : prompt;
  const end = ids.slice(-1).filter((id) => tokenizer.isSpecial(id));
  return ids.length <= most ? ids : [...ids.slice(0, most - end.length), ...end];
}

/** @throws ApiError 400 for biases of tokens that the model does not have, and a grammar of too many states */
function understood(
  model: Text,
  { settings, grammar, grammarField = "grammar" }: GenerationRequest,
  prompts: Understood["prompts"],
  marks?: readonly number[],
): Understood {
  checkKnown(settings.biases.keys(), model, "logit_bias");
  return { settings, prompts, grammar: grammar && compiled(grammarField, () => statesOf(grammar)), marks };
}
