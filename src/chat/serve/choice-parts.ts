import type { FinishReason } from "../generation/next-token.ts";
import type { Call } from "../tools/formats.ts";
import type { AnswerParserOptions } from "../tools/answer-format.ts";
import { answerParser } from "../tools/answer-formats.ts";
import type { AnswerParser, Part } from "../tools/message-parser.ts";
import type { Piece } from "./answer-text.ts";
import type { Choice, ShownToken } from "./shapes/shape.ts";

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
