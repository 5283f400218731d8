import type { Grammar } from "../grammar/grammar.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import type { AnswerFormat } from "./answer-format.ts";
import { type CallFormat, callFormatOf } from "./formats.ts";
import { callGrammar, heldTools } from "./grammar.ts";
import { type MessageParserOptions, THINK, THOUGHT } from "./message-parser.ts";
import { openGrammar } from "./open-grammar.ts";

/** Most templates': reasoning between `<think>` and `</think>`, and calls of tools between marks of their own. */
export function tagFormat(template: string, tokenizer: Tokenizer): AnswerFormat {
  const known = callFormatOf(template);
  return {
    isText: true,
    callsTools: known !== undefined,
    // By the marks that the template knows, or the variables that ask for it.
    mayThink: /<think>|enable_thinking|reasoning_effort/.test(template),
    begin(prompt, { tools, grammar: format }) {
      const { callable = [], isRequired = false, several = true } = tools ?? {};
      // Nothing tells a call that is the whole answer from JSON that follows a format.
      const calls = tools && (format === undefined || known?.open !== "") ? known : undefined;
      const inCall = calls !== undefined && isRequired;
      const thinking = thinkingOf(template, prompt);
      const ofCalls = (by: CallFormat): Grammar | undefined => {
        if (inCall) return callGrammar(callable, by, several && specialOf(tokenizer, [by.open]).size === 0);
        if (format !== undefined) return callGrammar(heldTools(callable), by, several, format);
        return callable.some(({ strict }) => strict) ? openGrammar(callable, by, { several, thinking }) : undefined;
      };
      const grammar = calls === undefined ? format : ofCalls(calls);
      // The model says what it wants; a grammar holds no more than its calls.
      const isFree = !inCall && format === undefined;
      // What must follow a format follows it at once.
      const thought = thinking === "open" && !isFree ? `\n${THOUGHT}\n\n` : "";
      const shownTokens = specialOf(tokenizer, [
        THINK,
        THOUGHT,
        ...(calls === undefined ? [] : [calls.open, calls.close]),
      ]);
      return {
        opening: thought + (inCall ? calls.open : ""),
        grammar,
        marks: isFree || (calls !== undefined && !inCall) ? [...shownTokens.keys()] : [],
        parser: {
          format: calls,
          tools: calls?.kind === "function" ? callable : undefined,
          inCall,
          onlyFirst: format !== undefined,
          thinking: isFree ? thinking : undefined,
          single: !several,
        },
        shownTokens,
        // Of a list the parser takes the first one; nothing tells where it ends.
        stops: grammar === undefined && !several && calls?.close ? [calls.close] : [],
      };
    },
  };
}

/** Whether an answer begins with what a model thinks. A template that does not know the marks leaves them to the model as text. */
function thinkingOf(template: string, prompt: string): MessageParserOptions["thinking"] {
  if (!template.includes(THINK)) return undefined;
  return /<think>\s*$/.test(prompt) ? "open" : "maybe";
}

/** The marks of an answer that are special tokens, which are left out of a text unless they are asked for. */
function specialOf(tokenizer: Tokenizer, marks: readonly string[]): ReadonlyMap<number, string> {
  const ids = marks.map((mark) => [tokenizer.tokenToId(mark) ?? -1, mark] as const);
  return new Map(ids.filter(([id]) => tokenizer.isSpecial(id)));
}
