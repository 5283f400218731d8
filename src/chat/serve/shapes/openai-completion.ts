import type { TokenTexts } from "../../../data/text/token-text.ts";
import type { FinishReason } from "../../generation/next-token.ts";
import { EVENTS } from "../event-stream.ts";
import { identity, LEAST_LOGPROB, type Shape, type ShapeOptions, type ShownToken } from "./shape.ts";

/** `/v1/completions`. */
export function completionShape({ model, texts, includeUsage }: ShapeOptions): Shape {
  const { id, created } = identity("cmpl-");
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
    framing: EVENTS,
    begin: () => [],
    piece: (index, { content }, tokens) => [answer([choice(index, content, tokens)], none)],
    end: (index, { finishReason }, timings) => [
      answer([choice(index, "", undefined, finishReason)], { ...none, ...(timings && !includeUsage && { timings }) }),
    ],
    finish: (_, usage, { llama }) => (includeUsage ? [answer([], { usage, ...(llama && { timings: llama }) })] : []),
    fail: (error) => error.toJSON(),
    whole: (all, usage, { llama }) => {
      const choices = all.map(({ content, tokens, finishReason }, index) =>
        choice(index, content, tokens, finishReason),
      );
      return answer(choices, { usage, ...(llama && { timings: llama }) });
    },
  };
}

function completionLogprobs(tokens: readonly ShownToken[], texts: TokenTexts): object {
  const entry = ({ id, logprob = LEAST_LOGPROB }: Pick<ShownToken, "id" | "logprob">): [string, number] => [
    texts.of(id).text,
    Math.max(logprob, LEAST_LOGPROB),
  ];
  return {
    tokens: tokens.map(({ id }) => texts.of(id).text),
    token_logprobs: tokens.map(({ logprob }) => (logprob === undefined ? null : Math.max(logprob, LEAST_LOGPROB))),
    // The token itself is among them, be it the best or not. Of several with one text (halves of characters) the best counts.
    top_logprobs: tokens.map(({ id, logprob, top }) =>
      logprob === undefined ? null : Object.fromEntries([{ id, logprob }, ...top.toReversed()].map(entry)),
    ),
    text_offset: tokens.map(({ offset }) => offset),
  };
}
