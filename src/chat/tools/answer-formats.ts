import { writesHarmony } from "../../data/text/harmony.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import type { AnswerFormat, AnswerParserOptions } from "./answer-format.ts";
import { harmonyFormat } from "./harmony-format.ts";
import { HarmonyParser } from "./harmony-parser.ts";
import { type AnswerParser, MessageParser } from "./message-parser.ts";
import { tagFormat } from "./tag-format.ts";

/** @param template the source of the chat template */
export function answerFormatOf(template: string, tokenizer: Tokenizer): AnswerFormat {
  const format = writesHarmony(template, tokenizer) ? harmonyFormat : tagFormat;
  return format(template, tokenizer);
}

export function answerParser(options: AnswerParserOptions): AnswerParser {
  return options.kind === "harmony" ? new HarmonyParser(options) : new MessageParser(options);
}
