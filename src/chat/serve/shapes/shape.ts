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
  end(index: number, choice: Choice): readonly object[];
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

/** How fast an answer was written. */
export interface Timings {
  /** By llama.cpp's names; undefined for several texts: they share their time. */
  readonly llama:
    | {
        readonly predicted_n: number;
        readonly predicted_ms: number;
        /** After the first token; 0 where it is the only one. */
        readonly predicted_per_second: number;
      }
    | undefined;
  /** Of the slowest text: up to its first token, and from there on. */
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
}

export function timingsOf(replies: readonly Reply[]): Timings {
  const [reply, ...others] = replies;
  const prefillSeconds = Math.max(0, ...replies.map((one) => one.prefillSeconds));
  const decodeSeconds = Math.max(0, ...replies.map((one) => one.decodeSeconds));
  if (reply === undefined || others.length > 0) return { llama: undefined, prefillSeconds, decodeSeconds };
  const llama = {
    predicted_n: reply.tokens.length,
    predicted_ms: 1000 * reply.decodeSeconds,
    predicted_per_second: speeds(reply).decode,
  };
  return { llama, prefillSeconds, decodeSeconds };
}

/** An id of a new answer, and when it was made, in seconds since 1970. */
export function identity(prefix: string): { readonly id: string; readonly created: number } {
  return { id: newId(prefix), created: Math.floor(Date.now() / 1000) };
}

export function newId(prefix: string): string {
  return `${prefix}${crypto.randomUUID().replaceAll("-", "")}`;
}

/** Why an answer ended, as a chat says it. */
export function reasonOf({ calls, finishReason }: Choice): FinishReason | "tool_calls" {
  return calls.length > 0 ? "tool_calls" : finishReason;
}

/** JSON has no infinity; OpenAI's API says -9999 for what is out of the question. */
export const LEAST_LOGPROB = -9999;
