import { RandloraError } from "../errors.ts";
import type { LanguageModel } from "../generate/language-model.ts";
import type { ChatMessage, ChatTemplate } from "../text/chat-template.ts";
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

type Text = Pick<LanguageModel, "tokenizer" | "template" | "decoder">;

/**
 * The ids of a conversation that waits for its answer.
 * @throws ApiError 400 without a chat template, where that refuses the messages, or where they are empty or fill the context
 */
export function chatPrompt(model: Text, request: ChatRequest, options: PromptOptions): readonly number[] {
  const { template, tokenizer } = model;
  if (template === undefined) {
    const message =
      "this model has no chat template: use /v1/completions, or start the server with --chat-template FILE";
    throw new ApiError(400, message, { code: "no_chat_template" });
  }
  const messages = withSystem(request.messages, options.system);
  const variables = { ...options.templateVariables, ...request.templateVariables };
  return checkLength(
    tokenizer.encode(render(template, messages, variables), { special: false }),
    options.context,
    "messages",
  );
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
 * The ids of a text to be continued.
 * @throws ApiError 400 for no text at all, for ids that the model does not have, or where it fills the context
 */
export function completionPrompt(model: Text, { prompt }: CompletionRequest, { context }: PromptOptions) {
  const ids = typeof prompt === "string" ? model.tokenizer.encode(prompt) : prompt;
  const { vocabularySize } = model.decoder.config;
  const foreign = ids.find((id) => id >= vocabularySize);
  if (foreign !== undefined) {
    throw badField("prompt", `token ${foreign} is beyond the model's vocabulary of ${vocabularySize}`);
  }
  return checkLength(ids, context, "prompt");
}

function withSystem(messages: readonly ChatMessage[], system: string | undefined): readonly ChatMessage[] {
  if (system === undefined || messages[0]?.role === "system") return messages;
  return [{ role: "system", content: system }, ...messages];
}

function checkLength(ids: readonly number[], context: number, param: string): readonly number[] {
  if (ids.length === 0) throw badField(param, "no tokens: there is nothing to go on from");
  if (ids.length < context) return ids;
  const message = `the context of this model ends at ${context} tokens, and the ${param} have ${ids.length}`;
  throw new ApiError(400, message.replace("prompt have", "prompt has"), { code: "context_length_exceeded", param });
}
