import { RandloraError } from "../../files/errors.ts";
import type { LanguageModel } from "../language-model.ts";
import type { DecoderConfig } from "../../models/decoder/config.ts";
import type { ChatMessage } from "../../data/text/chat-template.ts";
import { controlTokens } from "../../data/text/tokenizer/added-tokens.ts";
import type { RenderedChat } from "../../data/text/template/marks.ts";
import type { BegunAnswer } from "../tools/answer-format.ts";
import { answerFormatOf } from "../tools/answer-formats.ts";
import { CALL_FORMATS, showsTools } from "../tools/formats.ts";
import { ApiError, badField } from "./api-error.ts";
import { compiled } from "./format-fields.ts";
import type { ChatRequest } from "./chat-request.ts";
import type { CompletionRequest } from "./completion-request.ts";

/** How prompts are made. */
export interface PromptOptions {
  /** `--system`: for conversations that begin without a system message. */
  readonly system: string | undefined;
  /** `--chat-template-kwargs`; a request's own come on top. */
  readonly templateVariables: Readonly<Record<string, unknown>>;
  /** Positions that may be used. */
  readonly context: number;
}

/** Which models were trained without the chat template: a chat with one continues its last message as it stands. */
export interface RawModels {
  /** The one that a request means which names none. */
  readonly byDefault: boolean;
  /** Their ids; undefined where every name means the default. */
  readonly ids: readonly string[] | undefined;
}

/** What makes texts of messages, and tokens of texts. */
export type Text = Pick<LanguageModel, "tokenizer" | "template"> & {
  readonly decoder: { readonly config: Pick<DecoderConfig, "vocabularySize"> };
};

/** A conversation up to its answer, as the chat template shows it. */
interface ChatText {
  readonly text: string;
  /** Where a client's words are, in which control tokens are plain text. */
  readonly plain: RenderedChat["plain"];
  readonly answer: BegunAnswer;
}

/** A conversation as the model sees it, and how its answer is written and read; `stops` come beside the request's own. */
export interface ChatPrompt extends Omit<BegunAnswer, "opening"> {
  readonly ids: readonly number[];
}

/**
 * A conversation that waits for its answer.
 * @throws ApiError 400 without a chat template, where that refuses the messages or knows no tools, or where messages are
 *   empty, hold ids that the model does not have, or fill the context
 */
export async function chatPrompt(model: Text, request: ChatRequest, options: PromptOptions): Promise<ChatPrompt> {
  const { text, plain, answer } = chatText(model, request, options);
  const ids = await model.tokenizer.encodeWithin(text, longest(options), { special: false, plain });
  const { opening: _, ...begun } = answer;
  return { ids: checkIds(ids, model, options, "messages"), ...begun };
}

/** @throws ApiError 400 as `chatPrompt`, for what is wrong with the messages or the template */
export function chatText({ template: own, tokenizer }: Text, request: ChatRequest, options: PromptOptions): ChatText {
  if (own === undefined) {
    const message =
      "this model has no chat template: use /v1/completions, or start the server with --chat-template FILE";
    throw new ApiError(400, message, { code: "no_chat_template" });
  }
  const { tools, continues, effort, mustThink = false } = request;
  const template = explaining(() => own.for(tools?.tools));
  const format = answerFormatOf(template.source, tokenizer);
  if (mustThink && !format.mayThink) {
    throw badField("think", "the model's chat template knows no thinking", "unsupported_parameter");
  }
  if (effort !== undefined && !template.source.includes("reasoning_effort")) {
    throw badField("reasoning_effort", "the model's chat template knows no such levels", "unsupported_parameter");
  }
  if (tools !== undefined && !format.callsTools) {
    const known = [...CALL_FORMATS.map(({ name }) => name), "gpt-oss"].join("; ");
    const why = showsTools(template.source)
      ? `the model's chat template has calls in a format that is not known (known: ${known})`
      : "the model's chat template has no place for tools";
    const hint = "start the server with --chat-template FILE, a template with tools that the model was trained with";
    throw badField("tools", `${why}: ${hint}`, "unsupported_parameter");
  }
  const special = Object.keys(request.templateVariables).find((name) => Object.hasOwn(template.specialTokens, name));
  if (special !== undefined) throw badField(`chat_template_kwargs.${special}`, "is set by the server");
  const variables = { ...options.templateVariables, ...request.templateVariables, ...effortOf(effort) };
  const input = {
    messages: withSystem(request.messages, options.system),
    tools: tools?.tools,
    addGenerationPrompt: !continues,
    variables,
    controlTokens: controlTokens(tokenizer.addedTokens),
  };
  const { text, plain } = explaining(() => template.render(input));
  const { grammar } = request;
  if (tools?.isRequired === true && grammar !== undefined)
    throw badField("tool_choice", "cannot be given beside a format");
  const begun = continues ? withoutEnd(text, request.messages) : text;
  // A client's own grammar is of the whole answer.
  const callable = request.grammarField === "grammar" ? undefined : tools;
  const answer = compiled("tools", () => format.begin(begun, { tools: callable, grammar, continues, variables }));
  return { text: begun + answer.opening, plain: plain.filter(({ end }) => end <= begun.length), answer };
}

function effortOf(effort: string | undefined): object {
  return effort === undefined ? {} : { reasoning_effort: effort };
}

/** A conversation up to the end of its last message's text, as transformers' `continue_final_message`. */
function withoutEnd(text: string, messages: readonly ChatMessage[]): string {
  const content = String(messages.at(-1)?.content ?? "").trimEnd();
  const at = text.lastIndexOf(content.trimStart());
  if (at < 0) throw badField("continue_final_message", "the chat template does not show the last message as it is");
  return text.slice(0, at + content.trimStart().length);
}

/**
 * The ids of a chat's last message, which a model that was trained without the chat template continues as it stands.
 * @throws ApiError 400 for tools, thinking or its effort, a system message, or a last message that is not the user's; as {@link completionPrompts}
 */
export async function rawChatPrompt(
  model: Text,
  { messages, tools, effort, mustThink = false }: ChatRequest,
  options: PromptOptions,
): Promise<readonly number[]> {
  const system = messages.findIndex(({ role }) => role === "system");
  const refused = [
    ...(tools === undefined ? [] : [["tools", "tools"]]),
    ...(mustThink ? [["think", "thinking"]] : []),
    ...(effort === undefined ? [] : [["reasoning_effort", "thinking"]]),
    ...(system < 0 ? [] : [[`messages.${system}`, "system messages"]]),
  ];
  for (const [field = "", what] of refused) {
    const reason = `this model was trained without the chat template, and so without ${what}`;
    throw badField(field, reason, "unsupported_parameter");
  }
  const last = messages.at(-1);
  if (last?.role !== "user" || typeof last.content !== "string") {
    throw badField(`messages.${messages.length - 1}`, "the last message must be the user's: it is what is continued");
  }
  const ids = await model.tokenizer.encodeWithin(last.content, longest(options));
  return checkIds(ids, model, options, "messages");
}

/** @throws ApiError 400 for what a template throws */
function explaining<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof RandloraError)) throw error;
    throw new ApiError(400, error.message, { param: "messages", cause: error });
  }
}

/**
 * The ids of texts.
 * @param param the field that they stand in
 * @throws ApiError 400 for no text at all, for ids that the model does not have, or where one fills the context
 */
export async function completionPrompts(
  model: Text,
  { prompts }: Pick<CompletionRequest, "prompts">,
  options: PromptOptions,
  param = "prompt",
): Promise<readonly (readonly number[])[]> {
  const all = [];
  for (const prompt of prompts) {
    const ids = typeof prompt === "string" ? await model.tokenizer.encodeWithin(prompt, longest(options)) : prompt;
    all.push(checkIds(ids, model, options, param));
  }
  return all;
}

function withSystem(messages: readonly ChatMessage[], system: string | undefined): readonly ChatMessage[] {
  if (system === undefined || messages[0]?.role === "system") return messages;
  return [{ role: "system", content: system }, ...messages];
}

/** What is far too long is not tokenized to its end: others are waiting. */
function longest({ context }: PromptOptions): number {
  return 2 * context;
}

/** @throws ApiError 400 for ids that the model does not have */
export function checkKnown(ids: Iterable<number>, { decoder }: Text, param: string): void {
  const { vocabularySize } = decoder.config;
  for (const id of ids) {
    if (id >= vocabularySize)
      throw badField(param, `token ${id} is beyond the model's vocabulary of ${vocabularySize}`);
  }
}

/** @param ids undefined: more than `longest` */
function checkIds(
  ids: readonly number[] | undefined,
  model: Text,
  options: PromptOptions,
  param: string,
): readonly number[] {
  const { context } = options;
  checkKnown(ids ?? [], model, param);
  if (ids?.length === 0) throw badField(param, "no tokens: there is nothing to go on from");
  if (ids !== undefined && ids.length < context) return ids;
  const count = ids?.length ?? `more than ${longest(options)}`;
  const verb = param === "messages" ? "have" : "has";
  const message = `the context of this model ends at ${context} tokens, and the ${param} ${verb} ${count}`;
  throw new ApiError(400, message, { code: "context_length_exceeded", param });
}
