import type { TokenTexts } from "../../../data/text/token-text.ts";
import type { FinishReason } from "../../generation/next-token.ts";
import { type Reply, type ReplyToken, speeds } from "../../generation/reply.ts";
import type { Part } from "../../tools/message-parser.ts";
import type { ApiError } from "../api-error.ts";
import type { Framing } from "../event-stream.ts";

/** A token of an answer; of a prompt's first one no probability is known. */
export type ShownToken = Omit<ReplyToken, "logprob"> & { readonly logprob: number | undefined };

/** One text of an answer. */
export interface Choice extends Part {
  /** The same in its order, which an answer may think, speak and think again in. */
  readonly parts: readonly Part[];
  readonly finishReason: FinishReason;
  /** Where probabilities are wanted. */
  readonly tokens: readonly ShownToken[] | undefined;
}

/** How an endpoint words its answers, whole and as events of a stream. `index` is the number of a text. */
export interface Shape {
  readonly framing: Framing;
  /** Before the first piece. */
  begin(index: number): readonly object[];
  /** @param tokens that the part ends, where probabilities are wanted */
  piece(index: number, part: Part, tokens: readonly ShownToken[] | undefined): readonly object[];
  /** @param timings of an answer of one text */
  end(index: number, choice: Choice, timings: LlamaTimings | undefined): readonly object[];
  /** When all texts have ended. */
  finish(choices: readonly Choice[], usage: Usage, timings: Timings): readonly object[];
  /** A stream that fails half-way: its status has been sent. */
  fail(error: ApiError): object;
  whole(choices: readonly Choice[], usage: Usage, timings: Timings): object;
}

export interface ShapeOptions {
  readonly model: string;
  readonly texts: TokenTexts;
  /** Chunks say `usage: null` up to the one that tells it, as OpenAI's do. */
  readonly includeUsage: boolean;
  /** What `/v1/responses` says again of its request. */
  readonly said?: Readonly<Record<string, unknown>> | undefined;
}

/** A reply with the number of its tokens that were thought. */
export interface CountedReply extends Reply {
  readonly reasoningTokens: number;
}

/** Tokens of a request, as OpenAI's API counts them. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  readonly completion_tokens_details: { readonly reasoning_tokens: number };
}

/** @param choices texts of each prompt, which counts once */
export function usageOf(replies: readonly CountedReply[], choices: number): Usage {
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const firsts = replies.filter((_, index) => index % choices === 0);
  const prompt = sum(firsts.map(({ promptTokens }) => promptTokens));
  const completion = sum(replies.map(({ tokens }) => tokens.length));
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: sum(firsts.map(({ cachedTokens }) => cachedTokens)) },
    completion_tokens_details: { reasoning_tokens: sum(replies.map(({ reasoningTokens }) => reasoningTokens)) },
  };
}

/** How fast a text was read and written, by llama.cpp's names. */
export interface LlamaTimings {
  /** Tokens of the prompt that were in the KV cache, and those that were computed, up to the first token. */
  readonly cache_n: number;
  readonly prompt_n: number;
  readonly prompt_ms: number;
  readonly prompt_per_token_ms: number;
  readonly prompt_per_second: number;
  readonly predicted_n: number;
  readonly predicted_ms: number;
  /** After the first token; 0 where it is the only one. */
  readonly predicted_per_token_ms: number;
  readonly predicted_per_second: number;
}

/** How fast an answer was written. */
export interface Timings {
  /** Undefined for several texts: they share their time. */
  readonly llama: LlamaTimings | undefined;
  /** Of the slowest text: up to its first token, and from there on. */
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
}

export function timingsOf(replies: readonly Reply[]): Timings {
  const [reply, ...others] = replies;
  const prefillSeconds = Math.max(0, ...replies.map((one) => one.prefillSeconds));
  const decodeSeconds = Math.max(0, ...replies.map((one) => one.decodeSeconds));
  const llama = reply === undefined || others.length > 0 ? undefined : llamaTimings(reply);
  return { llama, prefillSeconds, decodeSeconds };
}

function llamaTimings(reply: Reply): LlamaTimings {
  const { prefill, decode } = speeds(reply);
  const milliseconds = (rate: number): number => (rate > 0 ? 1000 / rate : 0);
  return {
    cache_n: reply.cachedTokens,
    prompt_n: reply.promptTokens - reply.cachedTokens,
    prompt_ms: 1000 * reply.prefillSeconds,
    prompt_per_token_ms: milliseconds(prefill),
    prompt_per_second: prefill,
    predicted_n: reply.tokens.length,
    predicted_ms: 1000 * reply.decodeSeconds,
    predicted_per_token_ms: milliseconds(decode),
    predicted_per_second: decode,
  };
}

/** An id of a new answer, and when it was made, in seconds since 1970. */
export function identity(prefix: string): { readonly id: string; readonly created: number } {
  return { id: newId(prefix), created: Math.floor(Date.now() / 1000) };
}

export function newId(prefix: string): string {
  return `${prefix}${crypto.randomUUID().replaceAll("-", "")}`;
}

/** Why an answer ended, as a chat says it: one that was cut may have had more calls. */
export function reasonOf({ calls, finishReason }: Choice): FinishReason | "tool_calls" {
  return calls.length > 0 && finishReason !== "length" ? "tool_calls" : finishReason;
}

/** JSON has no infinity; OpenAI's API says -9999 for what is out of the question. */
export const LEAST_LOGPROB = -9999;
