import type { Tokenizer } from "../../data/text/tokenizer.ts";
import type { MessageParserOptions } from "./message-parser.ts";

/**
 * Whether an answer begins with what a model thinks.
 * @param template the source of the chat template: one that does not know the marks leaves them to the model as text
 * @param prompt what it rendered
 */
export function thinkingOf(template: string, prompt: string): MessageParserOptions["thinking"] {
  if (!template.includes("<think>")) return undefined;
  return /<think>\s*$/.test(prompt) ? "open" : "maybe";
}

/** Can a model be told to think? By the marks that its template knows, or the variables that ask for it. */
export function mayThink(template: string): boolean {
  return /<think>|enable_thinking|reasoning_effort/.test(template);
}

/** The marks of an answer that are special tokens, which are left out of a text unless they are asked for. */
export function specialMarks(tokenizer: Tokenizer, marks: readonly string[]): ReadonlySet<number> {
  const ids = ["<think>", "</think>", ...marks].flatMap((mark) => tokenizer.tokenToId(mark) ?? []);
  return new Set(ids.filter((id) => tokenizer.isSpecial(id)));
}
