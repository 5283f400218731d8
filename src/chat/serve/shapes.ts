import type { FinishReason } from "../generation/next-token.ts";
import type { TokenLogprob } from "../generation/logprobs.ts";
import { type Reply, type ReplyToken, speeds } from "../generation/reply.ts";
import type { TokenTexts } from "../../data/text/token-text.ts";

/** A token of an answer; of a prompt's first one no probability is known. */
export type ShownToken = Omit<ReplyToken, "logprob"> & { readonly logprob: number | undefined };

/** One text of an answer. */
export interface Choice {
  readonly text: string;
  readonly finishReason: FinishReason;
  /** Where probabilities are wanted. */
  readonly tokens: readonly ShownToken[] | undefined;
}

/** How an endpoint words its answers, whole and in pieces. `index` is the number of a text. */
export interface Shape {
  /** The chunk before the first piece; undefined where there is none. */
  begin(index: number): object | undefined;
  /** @param tokens that the text ends, where probabilities are wanted */
  piece(index: number, text: string, tokens: readonly ShownToken[] | undefined): object;
  end(index: number, finishReason: FinishReason): object;
  /** The chunk that only tells the usage, and how long the answer took. */
  usage(usage: Usage, timings: Timings | undefined): object;
  whole(choices: readonly Choice[], usage: Usage): object;
}

/** Tokens of a request, as OpenAI's API counts them. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/** @param choices texts of each prompt, which counts once */
export function usageOf(replies: readonly Reply[], choices: number): Usage {
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const firsts = replies.filter((_, index) => index % choices === 0);
  const prompt = sum(firsts.map(({ promptTokens }) => promptTokens));
  const completion = sum(replies.map(({ tokens }) => tokens.length));
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: sum(firsts.map(({ cachedTokens }) => cachedTokens)) },
  };
}

/** How fast an answer was written, by llama.cpp's names. */
export interface Timings {
  readonly predicted_n: number;
  readonly predicted_ms: number;
  /** After the first token; 0 where it is the only one. */
  readonly predicted_per_second: number;
}

/** Undefined for several texts: they share their time. */
export function timingsOf([reply, ...others]: readonly Reply[]): Timings | undefined {
  if (reply === undefined || others.length > 0) return undefined;
  const { decode } = speeds(reply);
  return {
    predicted_n: reply.tokens.length,
    predicted_ms: 1000 * reply.decodeSeconds,
    predicted_per_second: decode,
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
  const logprobs = (tokens: readonly ShownToken[] | undefined): object | null =>
    tokens === undefined ? null : { content: tokens.map((token) => chatLogprob(token, texts)), refusal: null };
  const chunk = (choices: readonly object[], usage: Usage | null = null): object => ({
    id,
    object: "chat.completion.chunk",
    created,
    model,
    choices,
    ...(includeUsage ? { usage } : {}),
  });
  const delta = (index: number, delta: object, tokens?: readonly ShownToken[], reason?: FinishReason): object =>
    chunk([{ index, delta, logprobs: logprobs(tokens), finish_reason: reason ?? null }]);
  return {
    begin: (index) => delta(index, { role: "assistant", content: "" }),
    piece: (index, content, tokens) => delta(index, { content }, tokens),
    end: (index, reason) => delta(index, {}, undefined, reason),
    usage: (usage, timings) => ({ ...chunk([], usage), ...(timings && { timings }) }),
    whole: (all, usage) => {
      const choices = all.map(({ text, tokens, finishReason }, index) => {
        const message = { role: "assistant", content: text, refusal: null };
        return { index, message, logprobs: logprobs(tokens), finish_reason: finishReason };
      });
      return { id, object: "chat.completion", created, model, choices, usage };
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
  const choice = (index: number, text: string, tokens?: readonly ShownToken[], reason?: FinishReason): object => ({
    index,
    text,
    logprobs: tokens === undefined ? null : completionLogprobs(tokens, texts),
    finish_reason: reason ?? null,
  });
  const none = includeUsage ? { usage: null } : {};
  return {
    begin: () => undefined,
    piece: (index, text, tokens) => answer([choice(index, text, tokens)], none),
    end: (index, reason) => answer([choice(index, "", undefined, reason)], none),
    usage: (usage, timings) => answer([], { usage, ...(timings && { timings }) }),
    whole: (all, usage) => {
      const choices = all.map(({ text, tokens, finishReason }, index) => choice(index, text, tokens, finishReason));
      return answer(choices, { usage });
    },
  };
}

function identity(prefix: string): { readonly id: string; readonly created: number } {
  return { id: `${prefix}-${crypto.randomUUID().replaceAll("-", "")}`, created: Math.floor(Date.now() / 1000) };
}

/** JSON has no infinity; OpenAI's API says -9999 for what is out of the question. */
const LEAST = -9999;

function chatLogprob({ id, logprob = LEAST, top }: ShownToken, texts: TokenTexts): object {
  const one = ({ id, logprob }: TokenLogprob): object => {
    const { text, bytes } = texts.of(id);
    return { token: text, logprob: Math.max(logprob, LEAST), bytes };
  };
  return { ...one({ id, logprob }), top_logprobs: top.map(one) };
}

function completionLogprobs(tokens: readonly ShownToken[], texts: TokenTexts): object {
  const entry = ({ id, logprob }: TokenLogprob): [string, number] => [texts.of(id).text, Math.max(logprob, LEAST)];
  return {
    tokens: tokens.map(({ id }) => texts.of(id).text),
    token_logprobs: tokens.map(({ logprob }) => (logprob === undefined ? null : Math.max(logprob, LEAST))),
    // Of several tokens with one text (halves of characters) the best counts.
    top_logprobs: tokens.map(({ logprob, top }) =>
      logprob === undefined ? null : Object.fromEntries(top.toReversed().map(entry)),
    ),
    text_offset: tokens.map(({ offset }) => offset),
  };
}
