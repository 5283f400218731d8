import type { TokenTexts } from "../../../data/text/token-text.ts";
import type { FinishReason } from "../../generation/next-token.ts";
import type { TokenLogprob } from "../../generation/logprobs.ts";
import type { Call } from "../../tools/formats.ts";
import { EVENTS } from "../event-stream.ts";
import {
  identity,
  LEAST_LOGPROB,
  reasonOf,
  type Shape,
  type ShapeOptions,
  type ShownToken,
  type Usage,
} from "./shape.ts";

/** `/v1/chat/completions`; `reasoning_content` as DeepSeek's API, llama.cpp and vLLM have it. */
export function chatShape({ model, texts, includeUsage }: ShapeOptions): Shape {
  const { id, created } = identity("chatcmpl-");
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
  const delta = (
    index: number,
    delta: object,
    tokens?: readonly ShownToken[],
    reason?: FinishReason | "tool_calls",
  ): object => chunk([{ index, delta, logprobs: logprobs(tokens), finish_reason: reason ?? null }]);
  const called = new Map<number, number>();
  return {
    framing: EVENTS,
    begin: (index) => [delta(index, { role: "assistant", content: "" })],
    piece: (index, { content, reasoning, calls }, tokens) => {
      const before = called.get(index) ?? 0;
      called.set(index, before + calls.length);
      const isSilent = reasoning !== "" || calls.length > 0;
      const said = {
        ...(content === "" && isSilent ? {} : { content }),
        ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
        ...(calls.length === 0
          ? {}
          : { tool_calls: calls.map((call, at) => ({ index: before + at, ...callOf(call) })) }),
      };
      return [delta(index, said, tokens)];
    },
    end: (index, choice, timings) => [
      { ...delta(index, {}, undefined, reasonOf(choice)), ...(timings && !includeUsage && { timings }) },
    ],
    finish: (_, usage, { llama }) => (includeUsage ? [{ ...chunk([], usage), ...(llama && { timings: llama }) }] : []),
    fail: (error) => error.toJSON(),
    whole: (all, usage, { llama }) => {
      const choices = all.map((choice, index) => {
        const { content, reasoning, calls, tokens } = choice;
        const message = {
          role: "assistant",
          content: content === "" && calls.length > 0 ? null : content,
          refusal: null,
          ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
          ...(calls.length === 0 ? {} : { tool_calls: calls.map(callOf) }),
        };
        return { index, message, logprobs: logprobs(tokens), finish_reason: reasonOf(choice) };
      });
      return { id, object: "chat.completion", created, model, choices, usage, ...(llama && { timings: llama }) };
    },
  };
}

function callOf({ id, name, arguments: given }: Call): object {
  return { id, type: "function", function: { name, arguments: given } };
}

function chatLogprob({ id, logprob = LEAST_LOGPROB, top }: ShownToken, texts: TokenTexts): object {
  const one = ({ id, logprob }: TokenLogprob): object => {
    const { text, bytes } = texts.of(id);
    return { token: text, logprob: Math.max(logprob, LEAST_LOGPROB), bytes };
  };
  return { ...one({ id, logprob }), top_logprobs: top.map(one) };
}
