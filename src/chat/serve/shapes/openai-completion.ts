import type { TokenTexts } from "../../../data/text/token-text.ts";
import type { FinishReason } from "../../generation/next-token.ts";
import { openaiShape } from "./openai.ts";
import { LEAST_LOGPROB, type Shape, type ShapeOptions, type ShownToken } from "./shape.ts";

/** `/v1/completions`. */
export function completionShape(options: ShapeOptions): Shape {
  const choice = (index: number, text: string, tokens?: readonly ShownToken[], reason?: FinishReason): object => ({
    index,
    text,
    logprobs: tokens === undefined ? null : completionLogprobs(tokens, options.texts),
    finish_reason: reason ?? null,
  });
  return openaiShape(options, {
    names: { id: "cmpl-", whole: "text_completion", chunk: "text_completion" },
    begin: () => [],
    piece: (index, { content }, tokens) => choice(index, content, tokens),
    end: (index, { finishReason }) => choice(index, "", undefined, finishReason),
    whole: ({ content, tokens, finishReason }, index) => choice(index, content, tokens, finishReason),
  });
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
