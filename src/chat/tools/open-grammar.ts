import {
  characters,
  choice,
  type Expression,
  type Grammar,
  LAST_BYTE,
  maybe,
  repeat,
  ROOT,
  rule,
  sequence,
  text,
  textUpTo,
} from "../grammar/grammar.ts";
import { SPACE } from "../grammar/json.ts";
import type { CallFormat } from "./formats.ts";
import { callRules, heldTools, listOfCalls, oneCall, type Tool } from "./grammar.ts";
import { type MessageParserOptions, THINK, THOUGHT } from "./message-parser.ts";

/**
 * An answer whose model decides whether it calls: any text, but what opens a call is followed by one. Arguments of a tool with
 * `strict` follow its schema, those of others are any object. What is thought before is free.
 * @param several more text and calls may follow
 * @throws RandloraError `data` for a schema that would not be obeyed
 */
export function openGrammar(
  tools: readonly Tool[],
  format: CallFormat,
  { several, thinking }: { readonly several: boolean; readonly thinking: MessageParserOptions["thinking"] },
): Grammar {
  const rules = callRules(heldTools(tools), format);
  const opened = format.isList ? listOfCalls() : sequence(oneCall(format), several ? rule("text 0") : text(""));
  rules.set("said", format.open === "" ? wholeAnswer() : textUpTo(format.open, "text", opened, rules));
  const thought = textUpTo(THOUGHT, "thought", rule("said"), rules);
  if (thinking === "open") return rules.set(ROOT, thought);
  const begun = sequence(repeat(BLANK, 0), text(THINK), thought);
  return rules.set(ROOT, thinking === "maybe" ? choice(rule("said"), begun) : rule("said"));
}

const BLANK: Expression = {
  kind: "byte",
  ranges: [
    [0x09, 0x0d],
    [0x20, 0x20],
  ],
};

/** All characters but white space, as `trim` has it, and `{`. */
const FIRST = characters([
  [0x00, 0x08],
  [0x0e, 0x1f],
  [0x21, 0x7a],
  [0x7c, 0x9f],
  [0xa1, 0x167f],
  [0x1681, 0x1fff],
  [0x200b, 0x2027],
  [0x202a, 0x202e],
  [0x2030, 0x205e],
  [0x2060, 0x2fff],
  [0x3001, 0xfefe],
  [0xff00, 0x10ffff],
]);

/** A call is the whole answer: what begins as an object is one. */
function wholeAnswer(): Expression {
  const any: Expression = { kind: "byte", ranges: [[0, LAST_BYTE]] };
  return sequence(repeat(BLANK, 0), maybe(choice(sequence(rule("call"), SPACE), sequence(FIRST, repeat(any, 0)))));
}
