import type { Tokenizer } from "../../data/text/tokenizer.ts";
import type { AnswerFormat, AnswerParserOptions } from "./answer-format.ts";
import { type AnswerParser, MessageParser } from "./message-parser.ts";
import { tagFormat } from "./tag-format.ts";

/** @param template the source of the chat template */
export function answerFormatOf(template: string, tokenizer: Tokenizer): AnswerFormat {
  return tagFormat(template, tokenizer);
}

export function answerParser(options: AnswerParserOptions): AnswerParser {
  return new MessageParser(options);
}
