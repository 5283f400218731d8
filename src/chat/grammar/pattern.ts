import { parsePattern } from "../../data/text/regex/parse.ts";
import { type CharacterSet, type Node, RegexLimitError } from "../../data/text/regex/syntax.ts";
import { SetTest } from "../../data/text/regex/set.ts";
import { characters, choice, type Expression, grammarError, repeat, sequence, text } from "./grammar.ts";

/** Of a `pattern`, in UTF-16 units. */
const LONGEST = 1000;
/** Repetitions that a pattern may ask for. */
const MOST_TIMES = 1000;
/** A set of characters is asked for each of those up to here (ASCII and Latin); of others it has the ranges that it names. */
const LAST = 0x24f;
const CHARACTER = String.raw`(?:\\u([0-9a-fA-F]{4})|\\u\{([0-9a-fA-F]{1,6})\}|([^\\\]]))`;
const RANGE = new RegExp(`${CHARACTER}-${CHARACTER}`, "gu");

/**
 * The inside of a JSON string that matches a pattern of a schema (ECMAScript's, flag u) from its beginning to its end. A
 * pattern without anchors also matches within other texts; none of those is written.
 * @throws RandloraError `data` for what no automaton does: looks, references, word edges, anchors in the middle
 */
export function stringMatching(pattern: string): Expression {
  const refuse = (reason: string): never => {
    throw grammarError(`pattern ${JSON.stringify(pattern.slice(0, 100))}: ${reason}`);
  };
  if (pattern.length > LONGEST) return refuse(`it is longer than ${LONGEST} characters`);
  try {
    const { source } = new RegExp(pattern, "u");
    return expressionOf(withoutAnchors(parsePattern(source, "u").root), new Map());
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RegexLimitError) return refuse(error.message);
    throw error;
  }
}

/** Anchors at the ends say what holds anyway. */
function withoutAnchors(node: Node): Node {
  if (node.kind === "choice") return { kind: "choice", branches: node.branches.map(withoutAnchors) };
  if (node.kind === "assertion") return { kind: "sequence", items: [] };
  if (node.kind !== "sequence") return node;
  const isAnchor = (item: Node | undefined, symbol: string): boolean =>
    item?.kind === "assertion" && item.symbol === symbol;
  const from = isAnchor(node.items[0], "^") ? 1 : 0;
  const to = node.items.length - (isAnchor(node.items.at(-1), "$") ? 1 : 0);
  return { kind: "sequence", items: node.items.slice(from, to) };
}

function expressionOf(node: Node, sets: Map<string, Expression>): Expression {
  switch (node.kind) {
    case "set":
      return oneOf(node, sets);
    case "sequence":
      return sequence(...node.items.map((item) => expressionOf(item, sets)));
    case "choice":
      return choice(...node.branches.map((branch) => expressionOf(branch, sets)));
    case "capture":
      return expressionOf(node.body, sets);
    case "repeat": {
      const { min, max, body } = node;
      if (min > MOST_TIMES || (max !== Infinity && max > MOST_TIMES)) {
        throw new RegexLimitError(`it repeats more than ${MOST_TIMES} times`);
      }
      return repeat(expressionOf(body, sets), min, max);
    }
    case "look":
      throw new RegexLimitError("lookaround and word edges are not supported");
    case "back":
      throw new RegexLimitError("references are not supported");
    case "assertion":
      throw new RegexLimitError(`${node.symbol} is supported at the ends only`);
  }
}

function oneOf(set: CharacterSet, sets: Map<string, Expression>): Expression {
  const key = `${set.flags} ${set.source}`;
  const known = sets.get(key);
  if (known !== undefined) return known;
  const made = choice(
    ...(set.literal === undefined ? written(codePointsOf(set), rangesOf(set)) : written([set.literal])),
  );
  sets.set(key, made);
  return made;
}

function codePointsOf(set: CharacterSet): number[] {
  const test = new SetTest(set);
  const holds = (codePoint: number): boolean => test.at(String.fromCodePoint(codePoint), 0) > 0;
  const all = Array.from({ length: LAST + 1 }, (_, codePoint) => codePoint).filter(holds);
  const kept = all.filter((codePoint) => !isDisputed(codePoint, set));
  return kept.length > 0 ? kept : all;
}

/** Python's `\s` holds more control characters, and its `\w` all letters: of `\S` and `\W` none is written that it excludes. */
function isDisputed(codePoint: number, { source }: CharacterSet): boolean {
  const character = String.fromCodePoint(codePoint);
  if (/\p{Cc}/u.test(character)) return !/[\t\n\r]/.test(character);
  return codePoint > 0x7f && /\\w/i.test(source) && /[\p{L}\p{N}]/u.test(character);
}

/** The ranges of a class beyond those, `[α-ω]`, unless it is what is not in them. */
function rangesOf({ source }: CharacterSet): [number, number][] {
  if (!source.startsWith("[") || source.startsWith("[^")) return [];
  return Array.from(source.slice(1).matchAll(RANGE), ([, a, b, c, x, y, z]): [number, number] => {
    const code = (hex: string | undefined, character = "\0"): number =>
      hex === undefined ? (character.codePointAt(0) ?? 0) : Number.parseInt(hex, 16);
    return [Math.max(LAST + 1, code(a ?? b, c)), code(x ?? y, z)];
  }).filter(([first, last]) => first <= last);
}

/** Code points, and ranges of further ones, as JSON writes them within a string. */
function written(codePoints: readonly number[], ranges: readonly [number, number][] = []): Expression[] {
  const plain: [number, number][] = [...ranges];
  const escaped: Expression[] = [];
  for (const codePoint of codePoints) {
    const last = plain.at(-1);
    const inJson = JSON.stringify(String.fromCodePoint(codePoint)).slice(1, -1);
    if (inJson.startsWith("\\")) escaped.push(text(inJson));
    else if (last?.[1] === codePoint - 1) last[1] = codePoint;
    else plain.push([codePoint, codePoint]);
  }
  if (plain.length + escaped.length === 0) throw new RegexLimitError("a set of characters is empty");
  return [...(plain.length > 0 ? [characters(plain)] : []), ...escaped];
}
