import type { TokenTexts } from "../../../data/text/token-text.ts";
import type { FinishReason } from "../../generation/next-token.ts";
import type { TokenLogprob } from "../../generation/logprobs.ts";
import type { Call } from "../../tools/formats.ts";
import { openaiShape } from "./openai.ts";
import { LEAST_LOGPROB, reasonOf, type Shape, type ShapeOptions, type ShownToken } from "./shape.ts";

/** `/v1/chat/completions`; `reasoning_content` as DeepSeek's API, llama.cpp and vLLM have it. */
export function chatShape(options: ShapeOptions): Shape {
  const { texts } = options;
  const logprobs = (tokens: readonly ShownToken[] | undefined): object | null =>
    tokens === undefined ? null : { content: tokens.map((token) => chatLogprob(token, texts)), refusal: null };
  const delta = (
    index: number,
    delta: object,
    tokens?: readonly ShownToken[],
    reason?: FinishReason | "tool_calls",
  ): object => ({ index, delta, logprobs: logprobs(tokens), finish_reason: reason ?? null });
  const called = new Map<number, number>();
  return openaiShape(options, {
    names: { id: "chatcmpl-", whole: "chat.completion", chunk: "chat.completion.chunk" },
    begin: (index) => [delta(index, { role: "assistant", content: "" })],
    piece: (index, { content, reasoning, calls }, tokens) => {
      const before = called.get(index) ?? 0;
      called.set(index, before + calls.length);
      const isSilent = reasoning !== "" || calls.length > 0;
      const numbered = calls.map((call, at) => ({ index: before + at, ...callOf(call) }));
      return delta(
        index,
        { ...(content === "" && isSilent ? {} : { content }), ...beside(reasoning, numbered) },
        tokens,
      );
    },
    end: (index, choice) => delta(index, {}, undefined, reasonOf(choice)),
    whole: (choice, index) => {
      const { reasoning, calls, tokens } = choice;
      const content = choice.content === "" && calls.length > 0 ? null : choice.content;
      const message = { role: "assistant", content, refusal: null, ...beside(reasoning, calls.map(callOf)) };
      return { index, message, logprobs: logprobs(tokens), finish_reason: reasonOf(choice) };
    },
  });
}

/** What a message has beside its content. */
function beside(reasoning: string, calls: readonly object[]): object {
  return {
    ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
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
