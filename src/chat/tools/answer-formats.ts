import { HARMONY_MARKS, isHarmony } from "../../data/text/harmony.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import type { AnswerFormat, AnswerParserOptions } from "./answer-format.ts";
import { harmonyFormat } from "./harmony-format.ts";
import { HarmonyParser } from "./harmony-parser.ts";
import { type AnswerParser, MessageParser } from "./message-parser.ts";
import { tagFormat } from "./tag-format.ts";

/** @param template the source of the chat template */
export function answerFormatOf(template: string, tokenizer: Tokenizer): AnswerFormat {
  // A tokenizer without the marks cannot write the format: what it makes of them is text.
  const isKnown = HARMONY_MARKS.every((token) => tokenizer.tokenToId(token) !== undefined);
  return isKnown && isHarmony(template) ? harmonyFormat(tokenizer) : tagFormat(template, tokenizer);
}

export function answerParser(options: AnswerParserOptions): AnswerParser {
  return options.kind === "harmony" ? new HarmonyParser(options) : new MessageParser(options);
}
