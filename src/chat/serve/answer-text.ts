import type { Tokenizer } from "../../data/text/tokenizer.ts";
import type { PromptToken, Reply, ReplyPiece, ReplyToken } from "../generation/reply.ts";
import type { Choice, ShownToken } from "./shapes/shape.ts";
import type { FinishReason } from "../generation/next-token.ts";
import type { Call } from "../tools/formats.ts";
import type { AnswerParserOptions } from "../tools/answer-format.ts";
import { answerParser } from "../tools/answer-formats.ts";
import type { AnswerParser, Part } from "../tools/message-parser.ts";

/** A prompt as it is given back. */
export interface Echo {
  readonly text: string;
  /** Where the text of each token begins in it, in UTF-16 units. */
  readonly offsets: readonly number[];
}

/** @param prompt as it was sent; a text comes back unchanged */
export function echoOf(tokenizer: Tokenizer, ids: readonly number[], prompt: string | readonly number[] = ids): Echo {
  const detokenizer = tokenizer.detokenizer({ skipSpecial: true });
  let decoded = "";
  const offsets = ids.map((id) => {
    const begin = decoded.length + detokenizer.held;
    decoded += detokenizer.push(id);
    return begin;
  });
  decoded += detokenizer.flush();
  const text = typeof prompt === "string" ? prompt : decoded;
  // A tokenizer may have normalized what was sent.
  return { text, offsets: offsets.map((offset) => Math.min(offset, text.length)) };
}

/** Some of a text, with the tokens that begin in it where probabilities are wanted. */
export interface Piece {
  readonly text: string;
  readonly tokens: readonly ShownToken[] | undefined;
}

/** One text of an answer as it comes, and which of its tokens are shown with which piece. */
export class AnswerText {
  readonly #echo: Echo | undefined;
  readonly #wantsTokens: boolean;
  #waiting: ReplyToken[] = [];
  #shown = 0;
  /** All text so far, the prompt's as well, and how many code points stand before a place in it. */
  #text = "";
  #counted = { units: 0, points: 0 };

  /** @param echo the prompt, where it stands before the text */
  constructor(echo: Echo | undefined, wantsTokens: boolean) {
    this.#echo = echo;
    this.#wantsTokens = wantsTokens;
  }

  /** Takes what came of the text. @returns what of it is shown now: the prompt, where it is given back, and text that is final */
  pieces({ prompt, token, text }: Partial<ReplyPiece>): Piece[] {
    if (token !== undefined) this.#waiting.push(token);
    const echoed = prompt === undefined ? undefined : this.#prompt(prompt);
    return [
      ...(echoed === undefined ? [] : [echoed]),
      ...(text === undefined || text === "" ? [] : [this.#piece(text)]),
    ];
  }

  #prompt(tokens: readonly PromptToken[]): Piece | undefined {
    const echo = this.#echo;
    if (echo === undefined) return undefined;
    const { text, offsets } = echo;
    this.#text = text;
    return { text, tokens: this.#ifWanted(tokens.map((token, at) => this.#placed(token, offsets[at] ?? 0))) };
  }

  /** Text that is final: what may still turn out to be a stop text is held back, with its tokens. */
  #piece(text: string): Piece {
    this.#shown += text.length;
    this.#text += text;
    const ready = this.#waiting.filter(({ offset }) => offset < this.#shown);
    this.#waiting = this.#waiting.slice(ready.length);
    return { text, tokens: this.#ifWanted(ready.map((token) => this.#moved(token))) };
  }

  /**
   * What is left when the text has ended: beside a prompt that is given back every token that was made has its place, the
   * one that ended it and those without a text as well (lm-evaluation-harness leaves the last one out, whatever it is).
   */
  rest({ text, stop }: Reply): Piece | undefined {
    if (this.#echo === undefined || !this.#wantsTokens) return undefined;
    const end = text.length;
    const left = [...this.#waiting, ...(stop === undefined ? [] : [{ ...stop, offset: end }])];
    if (left.length === 0) return undefined;
    return { text: "", tokens: left.map((token) => this.#moved({ ...token, offset: Math.min(token.offset, end) })) };
  }

  #moved(token: ReplyToken): ShownToken {
    return this.#placed(token, token.offset + (this.#echo?.text.length ?? 0));
  }

  /** OpenAI's offsets count code points, as Python does. Tokens come in the order of their places. */
  #placed<T extends object>(token: T, units: number): T & { readonly offset: number } {
    const between = this.#text.slice(this.#counted.units, units);
    this.#counted = { units, points: this.#counted.points + Array.from(between).length };
    return { ...token, offset: this.#counted.points };
  }

  #ifWanted(tokens: readonly ShownToken[]): readonly ShownToken[] | undefined {
    return this.#wantsTokens ? tokens : undefined;
  }
}

/** A part of a text, with the tokens that begin in it where probabilities are wanted. */
export interface ShownPart extends Part {
  readonly tokens: readonly ShownToken[] | undefined;
}

/** One text of an answer, in parts as they come and put together. */
export class ChoiceParts {
  readonly #parser: AnswerParser | undefined;
  /** In their order: of each what was thought, what was said then, and the calls behind it. */
  readonly #parts: { content: string; reasoning: string; readonly calls: Call[] }[] = [];
  readonly #tokens: ShownToken[] | undefined;

  constructor(parser: AnswerParserOptions | undefined, wantsTokens: boolean) {
    this.#parser = parser && answerParser(parser);
    this.#tokens = wantsTokens ? [] : undefined;
  }

  /** @returns the part that a piece is, unless nothing of it can be shown yet */
  push(piece: Piece | undefined): ShownPart[] {
    if (piece === undefined) return [];
    const { text, tokens } = piece;
    return this.#add(this.#parser?.push(text) ?? { content: text, reasoning: "", calls: [] }, tokens);
  }

  /** Nothing more comes. @returns what was held back */
  end(): ShownPart[] {
    return this.#parser === undefined ? [] : this.#add(this.#parser.end(), undefined);
  }

  /** All of it. */
  choice(finishReason: FinishReason): Choice {
    const parts = this.#parts;
    const textOf = (name: "content" | "reasoning"): string => parts.map((part) => part[name]).join("");
    return {
      parts,
      content: textOf("content"),
      reasoning: textOf("reasoning"),
      calls: parts.flatMap(({ calls }) => calls),
      finishReason,
      tokens: this.#tokens,
    };
  }

  /** @param offsets where the text of each token begins, in their order. @returns how many of them are reasoning */
  reasoningTokens(offsets: readonly number[]): number {
    const { thoughts = [] } = this.#parser ?? {};
    let at = 0;
    return offsets.filter((offset) => {
      while ((thoughts[at]?.to ?? Infinity) <= offset) at++;
      return offset >= (thoughts[at]?.from ?? Infinity);
    }).length;
  }

  #add(part: Part, tokens: readonly ShownToken[] | undefined): ShownPart[] {
    const { content, reasoning, calls } = part;
    const before = this.#parts.at(-1);
    const isNext =
      before === undefined ||
      (reasoning !== "" && before.content !== "") ||
      (reasoning + content !== "" && before.calls.length > 0);
    const last = isNext ? { content: "", reasoning: "", calls: [] } : before;
    if (isNext) this.#parts.push(last);
    last.content += content;
    last.reasoning += reasoning;
    last.calls.push(...calls);
    this.#tokens?.push(...(tokens ?? []));
    const isEmpty = content === "" && reasoning === "" && calls.length === 0;
    return isEmpty && (tokens?.length ?? 0) === 0 ? [] : [{ ...part, tokens }];
  }
}
