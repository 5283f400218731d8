import { EVENTS } from "../event-stream.ts";
import {
  type Choice,
  identity,
  LEAST_LOGPROB,
  reasonOf,
  type Shape,
  type ShapeOptions,
  type ShownToken,
  type Usage,
} from "./shape.ts";
import type { Part } from "../../tools/message-parser.ts";
import type { TokenTexts } from "../../../data/text/token-text.ts";
import type { FinishReason, TokenLogprob } from "../../generation/next-token.ts";
import type { Call } from "../../tools/formats.ts";

/** How one of OpenAI's endpoints words a text: whole, and by pieces. */
interface Words {
  /** What ids begin with, and the kinds of object that answers and chunks are. */
  readonly names: { readonly id: string; readonly whole: string; readonly chunk: string };
  begin(index: number): readonly object[];
  piece(index: number, part: Part, tokens: Choice["tokens"]): object;
  end(index: number, choice: Choice): object;
  whole(choice: Choice, index: number): object;
}

/** OpenAI's chat completions and completions; with llama.cpp's timings of an answer of one text. */
function openaiShape({ model, includeUsage }: ShapeOptions, { names, ...words }: Words): Shape {
  const { id, created } = identity(names.id);
  const answer = (object: string, choices: readonly object[]) => ({ id, object, created, model, choices });
  const chunk = (choices: readonly object[], usage: Usage | null = null): object => ({
    ...answer(names.chunk, choices),
    ...(includeUsage ? { usage } : {}),
  });
  return {
    framing: EVENTS,
    begin: (index) => words.begin(index).map((one) => chunk([one])),
    piece: (index, part, tokens) => [chunk([words.piece(index, part, tokens)])],
    end: (index, choice, timings) => [
      { ...chunk([words.end(index, choice)]), ...(timings && !includeUsage && { timings }) },
    ],
    finish: (_, usage, { llama }) => (includeUsage ? [{ ...chunk([], usage), ...(llama && { timings: llama }) }] : []),
    fail: (error) => error.toJSON(),
    whole: (all, usage, { llama }) => {
      return { ...answer(names.whole, all.map(words.whole)), usage, ...(llama && { timings: llama }) };
    },
  };
}

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
