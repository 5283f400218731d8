import { RandloraError } from "../../files/errors.ts";
import type { LanguageModel } from "../language-model.ts";
import type { DecoderConfig } from "../../models/decoder/config.ts";
import type { ChatMessage, ChatTemplate } from "../../data/text/chat-template.ts";
import { ApiError, badField } from "./api-error.ts";
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

type Text = Pick<LanguageModel, "tokenizer" | "template"> & {
  readonly decoder: { readonly config: Pick<DecoderConfig, "vocabularySize"> };
};

/**
 * The ids of a conversation that waits for its answer.
 * @throws ApiError 400 without a chat template, where that refuses the messages, or where they are empty, hold ids that the
 *   model does not have, or fill the context
 */
export async function chatPrompt(
  model: Text,
  request: ChatRequest,
  options: PromptOptions,
): Promise<readonly number[]> {
  const { template, tokenizer } = model;
  if (template === undefined) {
    const message =
      "this model has no chat template: use /v1/completions, or start the server with --chat-template FILE";
    throw new ApiError(400, message, { code: "no_chat_template" });
  }
  const messages = withSystem(request.messages, options.system);
  const variables = { ...options.templateVariables, ...request.templateVariables };
  const text = render(template, messages, variables);
  const ids = await tokenizer.encodeWithin(text, longest(options), { special: false });
  return checkIds(ids, model, options, "messages");
}

/**
 * The ids of a chat's last message, which a model that was trained without the chat template continues as it stands.
 * @throws ApiError 400 for a system message, or a last message that is not the user's; as {@link completionPrompts}
 */
export async function rawChatPrompt(
  model: Text,
  { messages }: ChatRequest,
  options: PromptOptions,
): Promise<readonly number[]> {
  const system = messages.findIndex(({ role }) => role === "system");
  if (system >= 0) {
    const reason = "this model was trained without the chat template, and so without system messages";
    throw badField(`messages.${system}`, reason, "unsupported_parameter");
  }
  const last = messages.at(-1);
  if (last?.role !== "user" || typeof last.content !== "string") {
    throw badField(`messages.${messages.length - 1}`, "the last message must be the user's: it is what is continued");
  }
  const ids = await model.tokenizer.encodeWithin(last.content, longest(options));
  return checkIds(ids, model, options, "messages");
}

function render(
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  variables: Readonly<Record<string, unknown>>,
) {
  try {
    return template.render({ messages, addGenerationPrompt: true, variables }).text;
  } catch (error) {
    if (!(error instanceof RandloraError)) throw error;
    throw new ApiError(400, error.message, { param: "messages", cause: error });
  }
}

/**
 * The ids of texts to be continued.
 * @throws ApiError 400 for no text at all, for ids that the model does not have, or where one fills the context
 */
export async function completionPrompts(
  model: Text,
  { prompts }: CompletionRequest,
  options: PromptOptions,
): Promise<readonly (readonly number[])[]> {
  const all = [];
  for (const prompt of prompts) {
    const ids = typeof prompt === "string" ? await model.tokenizer.encodeWithin(prompt, longest(options)) : prompt;
    all.push(checkIds(ids, model, options, "prompt"));
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

/** @param ids undefined: more than `longest` */
function checkIds(
  ids: readonly number[] | undefined,
  { decoder }: Text,
  options: PromptOptions,
  param: string,
): readonly number[] {
  const { context } = options;
  const { vocabularySize } = decoder.config;
  const foreign = ids?.find((id) => id >= vocabularySize);
  if (foreign !== undefined) {
    throw badField(param, `token ${foreign} is beyond the model's vocabulary of ${vocabularySize}`);
  }
  if (ids?.length === 0) throw badField(param, "no tokens: there is nothing to go on from");
  if (ids !== undefined && ids.length < context) return ids;
  const count = ids?.length ?? `more than ${longest(options)}`;
  const message = `the context of this model ends at ${context} tokens, and the ${param} have ${count}`;
  throw new ApiError(400, message.replace("prompt have", "prompt has"), { code: "context_length_exceeded", param });
}
