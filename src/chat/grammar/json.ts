import { characters, choice, type Expression, type Grammar, maybe, repeat, rule, sequence, text } from "./grammar.ts";

/*
 * JSON (RFC 8259) as rules. Numbers have so many digits that every reader takes them for what they are, and white space is
 * what people write: without a bound a model could write nothing else.
 */
const byte = (...ranges: readonly (readonly [string, string])[]): Expression => ({
  kind: "byte",
  ranges: ranges.map(([first, last]) => [first.charCodeAt(0), last.charCodeAt(0)]),
});
export const DIGIT = byte(["0", "9"]);
const HEX = byte(["0", "9"], ["a", "f"], ["A", "F"]);
const MOST_INDENT = 20;

/** Between the parts of an object or a list. */
export const SPACE = rule("space");
/** One character of a string, as JSON writes it. */
export const CHARACTER = rule("character");
export const STRING = rule("string");
export const NUMBER = rule("number");
export const INTEGER = rule("integer");
export const OBJECT = rule("object");
export const ARRAY = rule("array");
export const VALUE = rule("value");
export const BOOLEAN = choice(text("true"), text("false"));
export const NULL = text("null");
const FRACTION = sequence(text("."), repeat(DIGIT, 1, 15));

/** Items with commas between them; `least` and `most` of them. */
export function list(item: Expression, least = 0, most = Infinity): Expression {
  if (most === 0) return text("");
  const more = repeat(sequence(text(","), SPACE, item), Math.max(0, least - 1), most - 1);
  return least === 0 ? maybe(sequence(item, more)) : sequence(item, more);
}

export function array(items: Expression): Expression {
  return sequence(text("["), SPACE, items, SPACE, text("]"));
}

export function object(members: Expression): Expression {
  return sequence(text("{"), SPACE, members, SPACE, text("}"));
}

export function member(key: Expression, value: Expression): Expression {
  return sequence(key, text(":"), SPACE, value);
}

/** What every grammar of JSON is made of. */
export const JSON_RULES: Grammar = new Map([
  ["space", maybe(choice(text(" "), sequence(text("\n"), repeat(text(" "), 0, MOST_INDENT))))],
  [
    "character",
    choice(
      characters([
        [0x20, 0x21],
        [0x23, 0x5b],
        [0x5d, 0x10ffff],
      ]),
      sequence(
        text("\\"),
        choice(
          byte(['"', '"'], ["\\", "\\"], ["/", "/"], ["b", "b"], ["f", "f"], ["n", "n"], ["r", "r"], ["t", "t"]),
          // No halves of pairs: not every reader takes those.
          sequence(
            text("u"),
            choice(
              sequence(byte(["0", "9"], ["a", "c"], ["e", "f"], ["A", "C"], ["E", "F"]), HEX, HEX, HEX),
              sequence(byte(["d", "d"], ["D", "D"]), byte(["0", "7"]), HEX, HEX),
            ),
          ),
        ),
      ),
    ),
  ],
  ["string", sequence(text('"'), repeat(CHARACTER, 0), text('"'))],
  ["whole", choice(text("0"), sequence(byte(["1", "9"]), repeat(DIGIT, 0, 14)))],
  ["integer", choice(text("0"), sequence(maybe(text("-")), byte(["1", "9"]), repeat(DIGIT, 0, 14)))],
  [
    "number",
    sequence(
      maybe(text("-")),
      rule("whole"),
      maybe(FRACTION),
      maybe(sequence(byte(["e", "e"], ["E", "E"]), maybe(byte(["+", "+"], ["-", "-"])), repeat(DIGIT, 1, 2))),
    ),
  ],
  ["object", object(list(member(STRING, VALUE)))],
  ["array", array(list(VALUE))],
  ["value", choice(STRING, NUMBER, OBJECT, ARRAY, BOOLEAN, NULL)],
]);

/** `response_format: {"type": "json_object"}`. */
export const ANY_OBJECT: Grammar = new Map([...JSON_RULES, ["root", OBJECT]]);
