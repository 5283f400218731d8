import {
  characters,
  choice,
  type Expression,
  type Grammar,
  maybe,
  repeat,
  ROOT,
  rule,
  sequence,
  text,
} from "../grammar/grammar.ts";
import { SPACE } from "../grammar/json.ts";
import type { CallFormat } from "./formats.ts";
import { callRules, heldTools, listOfCalls, oneCall, type Tool } from "./grammar.ts";

/**
 * An answer whose model decides whether it calls: any text, but what opens a call is followed by one. Arguments of a tool with
 * `strict` follow its schema, those of others are any object.
 * @param several more text and calls may follow
 * @throws RandloraError `data` for a schema that would not be obeyed
 */
export function openGrammar(tools: readonly Tool[], format: CallFormat, several: boolean): Grammar {
  const rules = callRules(heldTools(tools), format);
  if (format.open === "") return rules.set(ROOT, wholeAnswer());
  const open = new TextEncoder().encode(format.open);
  for (const begun of open.keys()) rules.set(textRule(begun), textBehind(open, begun));
  rules.set(
    "opened",
    format.isList ? listOfCalls() : sequence(oneCall(format), several ? rule(textRule(0)) : text("")),
  );
  return rules.set(ROOT, rule(textRule(0)));
}

const textRule = (begun: number): string => `text ${begun}`;

/** What may follow a text whose end is the first `begun` bytes of what opens a call (Knuth, Morris and Pratt's automaton). */
function textBehind(open: Uint8Array, begun: number): Expression {
  const inMark = [...new Set(open)].toSorted((left, right) => left - right);
  const ways = inMark.map((byte) => {
    const seen = [...open.subarray(0, begun), byte];
    let length = seen.length;
    while (!seen.slice(seen.length - length).every((one, at) => one === open[at])) length--;
    const next = rule(length === open.length ? "opened" : textRule(length));
    return sequence({ kind: "byte", ranges: [[byte, byte]] }, next);
  });
  const edges = [-1, ...inMark, 256];
  const others = edges.slice(1).map((edge, at): [number, number] => [(edges[at] ?? 0) + 1, edge - 1]);
  const ranges = others.filter(([first, last]) => first <= last);
  return choice(text(""), ...ways, sequence({ kind: "byte", ranges }, rule(textRule(0))));
}

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
  const blank: Expression = {
    kind: "byte",
    ranges: [
      [0x09, 0x0d],
      [0x20, 0x20],
    ],
  };
  const any: Expression = { kind: "byte", ranges: [[0, 255]] };
  return sequence(repeat(blank, 0), maybe(choice(sequence(rule("call"), SPACE), sequence(FIRST, repeat(any, 0)))));
}
