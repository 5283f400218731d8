import type { FinishReason } from "../generate/generate.ts";
import type { TokenLogprob } from "../generate/logprobs.ts";
import type { Reply, ReplyToken } from "../generate/reply.ts";
import type { TokenTexts } from "../text/token-text.ts";

/** How an endpoint words its answers, whole and in pieces. */
export interface Shape {
  /** The chunk before the first piece; undefined where there is none. */
  begin(): object | undefined;
  /** @param tokens that the text ends, where probabilities are wanted */
  piece(text: string, tokens: readonly ReplyToken[] | undefined): object;
  end(finishReason: FinishReason): object;
  /** The chunk that only tells the usage. */
  usage(usage: Usage): object;
  whole(reply: Reply & { readonly finishReason: FinishReason }, tokens: readonly ReplyToken[] | undefined): object;
}

/** Tokens of a request, as OpenAI's API counts them. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

export function usageOf({ promptTokens, cachedTokens, tokens }: Reply): Usage {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: tokens.length,
    total_tokens: promptTokens + tokens.length,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}

interface ShapeOptions {
  readonly model: string;
  readonly texts: TokenTexts;
  /** Chunks say `usage: null` up to the one that tells it, as OpenAI's do. */
  readonly includeUsage: boolean;
}

/** `/v1/chat/completions`. */
export function chatShape({ model, texts, includeUsage }: ShapeOptions): Shape {
  const { id, created } = identity("chatcmpl");
  const logprobs = (tokens: readonly ReplyToken[] | undefined): object | null =>
    tokens === undefined ? null : { content: tokens.map((token) => chatLogprob(token, texts)), refusal: null };
  const chunk = (choices: readonly object[], usage: Usage | null = null): object => ({
    id,
    object: "chat.completion.chunk",
    created,
    model,
    choices,
    ...(includeUsage ? { usage } : {}),
  });
  const delta = (delta: object, tokens?: readonly ReplyToken[], reason: FinishReason | null = null): object =>
    chunk([{ index: 0, delta, logprobs: logprobs(tokens), finish_reason: reason }]);
  return {
    begin: () => delta({ role: "assistant", content: "" }),
    piece: (content, tokens) => delta({ content }, tokens),
    end: (reason) => delta({}, undefined, reason),
    usage: (usage) => chunk([], usage),
    whole: (reply, tokens) => {
      const message = { role: "assistant", content: reply.text, refusal: null };
      const choice = { index: 0, message, logprobs: logprobs(tokens), finish_reason: reply.finishReason };
      return { id, object: "chat.completion", created, model, choices: [choice], usage: usageOf(reply) };
    },
  };
}

/** `/v1/completions`. */
export function completionShape({ model, texts, includeUsage }: ShapeOptions): Shape {
  const { id, created } = identity("cmpl");
  const answer = (choices: readonly object[], usage: object): object => ({
    id,
    object: "text_completion",
    created,
    model,
    choices,
    ...usage,
  });
  const choice = (text: string, tokens: readonly ReplyToken[] | undefined, reason: FinishReason | null): object => ({
    index: 0,
    text,
    logprobs: tokens === undefined ? null : completionLogprobs(tokens, texts),
    finish_reason: reason,
  });
  const none = includeUsage ? { usage: null } : {};
  return {
    begin: () => undefined,
    piece: (text, tokens) => answer([choice(text, tokens, null)], none),
    end: (reason) => answer([choice("", undefined, reason)], none),
    usage: (usage) => answer([], { usage }),
    whole: (reply, tokens) => answer([choice(reply.text, tokens, reply.finishReason)], { usage: usageOf(reply) }),
  };
}

function identity(prefix: string): { readonly id: string; readonly created: number } {
  return { id: `${prefix}-${crypto.randomUUID().replaceAll("-", "")}`, created: Math.floor(Date.now() / 1000) };
}

/** JSON has no infinity; OpenAI's API says -9999 for what is out of the question. */
const LEAST = -9999;

function chatLogprob({ id, logprob, top }: ReplyToken, texts: TokenTexts): object {
  const one = ({ id, logprob }: TokenLogprob): object => {
    const { text, bytes } = texts.of(id);
    return { token: text, logprob: Math.max(logprob, LEAST), bytes };
  };
  return { ...one({ id, logprob }), top_logprobs: top.map(one) };
}

function completionLogprobs(tokens: readonly ReplyToken[], texts: TokenTexts): object {
  const entry = ({ id, logprob }: TokenLogprob): [string, number] => [texts.of(id).text, Math.max(logprob, LEAST)];
  return {
    tokens: tokens.map(({ id }) => texts.of(id).text),
    token_logprobs: tokens.map(({ logprob }) => Math.max(logprob, LEAST)),
    // Of several tokens with one text (halves of characters) the best counts.
    top_logprobs: tokens.map(({ top }) => Object.fromEntries(top.toReversed().map(entry))),
    text_offset: tokens.map(({ offset }) => offset),
  };
}
