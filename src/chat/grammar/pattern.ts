import { type CharacterSet, lengthOf, type Node, RegexLimitError } from "../../data/text/regex/syntax.ts";
import { SetTest } from "../../data/text/regex/set.ts";
import { LinearRegExp } from "../../data/text/regex/linear-regexp.ts";
import { characters, choice, type Expression, grammarError, repeat, sequence, text } from "./grammar.ts";
import { CHARACTER as ANY_CHARACTER } from "./json.ts";
import { PatternWalk } from "./pattern-walk.ts";
import { parsePattern } from "../../data/text/regex/parse.ts";

/** Of a `pattern`, in UTF-16 units. */
const LONGEST = 1000;
/** Repetitions that a pattern may ask for. */
const MOST_TIMES = 1000;
/** A set of characters is asked for each of those up to here (ASCII and Latin); of others it has the ranges that it names. */
const LAST = 0x24f;
/** What it takes to find out what sets have in common. */
const STEPS_OF_SETS = 32;
const NO_LOOKS = "lookaround and word edges are not supported";
const CHARACTER = String.raw`(?:\\u([0-9a-fA-F]{4})|\\u\{([0-9a-fA-F]{1,6})\}|([^\\\]]))`;
const RANGE = new RegExp(`${CHARACTER}-${CHARACTER}`, "gu");

/**
 * The inside of a JSON string of so many code points that matches patterns of a schema (ECMAScript's, flag u) from its beginning to its end. A
 * pattern without anchors also matches within other texts: those are written where there are no others.
 * @param named what an error calls them
 * @param work told how many steps that took
 * @returns undefined: there is none
 * @throws RandloraError `data` for what no automaton does: looks (but ahead, at the beginning, for what all texts or none of a format have), references, word edges,
 * anchors in the middle; for what takes too many steps
 */
export function stringMatching(
  patterns: readonly string[],
  [least, most]: readonly [number, number],
  { named, work }: { readonly named: string; readonly work: (steps: number) => void },
): Expression | undefined {
  const sources = patterns.map((pattern) => readPattern(pattern, (source) => source));
  const sets = knownSets();
  const within = (around: readonly Node[]): Expression | undefined => {
    const parts = sources.map((source) => rootsOf(source, around));
    const roots = parts.flatMap(({ all }) => all);
    const none = parts.flatMap((one) => one.none);
    // For what it refuses, too.
    const [alone, ...others] = [...roots, ...none].map((root) => expressionOf(root, sets));
    // A length that one of them keeps by itself need not be counted.
    const isLong = roots.some((root) => lengthOf(root, "min") >= least);
    const isShort = roots.some((root) => lengthOf(root, "max") <= most);
    if (others.length === 0 && isLong && isShort) return alone;
    const walked = (all: readonly Node[], from: number, to: number): Expression | undefined => {
      const walk = new PatternWalk(all);
      const found = walk.within(from, to, (characters) => oneOfAll(characters, sets, work));
      work(walk.steps);
      return found;
    };
    // Texts of a format are ASCII, of which sets are known exactly: where none of them matches it need not be looked for.
    if (none.some((root) => sources.length < 2 || walked([...roots, root], 0, Infinity) !== undefined))
      throw new RegexLimitError(NO_LOOKS);
    return walked(roots, isLong ? 0 : least, isShort ? Infinity : most);
  };
  return readPattern(patterns[0] ?? "", () => within([]) ?? within([ANYTHING]), named);
}

/** What tells whether a text has a match of a pattern. @throws as {@link stringMatching}, when a text takes too many steps as well */
export function patternTest(pattern: string): (value: string) => boolean {
  const expression = readPattern(pattern, (source) => new LinearRegExp(source, "u"));
  return (value) => readPattern(pattern, () => expression.matchAll(value).next().done !== true);
}

/** What an error calls a pattern. */
export function patternName(pattern: string): string {
  return `pattern ${JSON.stringify(pattern.slice(0, 100))}`;
}

/**
 * @param use takes the pattern as the flag u has it
 * @param named what an error calls it
 */
function readPattern<T>(pattern: string, use: (source: string) => T, named = patternName(pattern)): T {
  const refuse = (reason: string): never => {
    throw grammarError(`${named}: ${reason}`);
  };
  if (pattern.length > LONGEST) return refuse(`it is longer than ${LONGEST} characters`);
  try {
    return use(new RegExp(withoutIdentityEscapes(pattern), "u").source);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RegexLimitError) return refuse(error.message);
    throw error;
  }
}

/** `\-`, `\@` and the like, which the flag u refuses, are the characters themselves; letters mean other things in other languages. */
function withoutIdentityEscapes(pattern: string): string {
  return pattern.replace(/\\([^])/gu, (escape, character: string) =>
    /[\w^$\\.*+?()[\]{}|/]/.test(character) && character !== "_"
      ? escape
      : `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

function knownSets(): Map<string, Expression | undefined> {
  return new Map([[keyOf(ANY_SET), ANY_CHARACTER]]);
}

function expressionOf(node: Node, sets: Map<string, Expression | undefined>): Expression {
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
      throw new RegexLimitError(NO_LOOKS);
    case "back":
      throw new RegexLimitError("references are not supported");
    case "assertion":
      throw new RegexLimitError(`${node.symbol} is supported at the ends only`);
  }
}

function keyOf({ flags, source }: CharacterSet): string {
  return `${flags} ${source}`;
}

function oneOf(set: CharacterSet, sets: Map<string, Expression | undefined>): Expression {
  const key = keyOf(set);
  const known = sets.get(key);
  if (known !== undefined) return known;
  const made = choice(
    ...(set.literal === undefined ? written(codePointsOf(set), rangesOf(set)) : written([set.literal])),
  );
  sets.set(key, made);
  return made;
}

/**
 * A character that is in all of these sets, of those up to {@link LAST} where they are several.
 * @param work told how many steps that took
 * @returns undefined: there is none
 */
function oneOfAll(
  nodes: readonly Node[],
  sets: Map<string, Expression | undefined>,
  work: (steps: number) => void,
): Expression | undefined {
  const [first, ...others] = nodes.filter((node) => node.kind === "set");
  if (first === undefined) return undefined;
  const key = [first, ...others].map(keyOf).join(" & ");
  if (sets.has(key)) return sets.get(key);
  work(STEPS_OF_SETS);
  const inOthers = others.map((set) => new Set(codePointsOf(set)));
  const common = codePointsOf(first).filter((codePoint) => inOthers.every((one) => one.has(codePoint)));
  const made = common.length === 0 ? undefined : choice(...written(common));
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

const ANY_SET: CharacterSet = { kind: "set", source: "[^]", flags: "u", literal: undefined };
const ANYTHING: Node = { kind: "repeat", body: ANY_SET, min: 0, max: Infinity, lazy: false };

/** What a whole text must match, and what it must not. */
interface PatternRoots {
  readonly all: readonly Node[];
  readonly none: readonly Node[];
}

/**
 * A pattern without its anchors, and without what it looks ahead for at its beginning, `^(?!\.)`: that holds for a text by itself.
 * @param around what may stand at the ends, where no anchors are
 */
function rootsOf(source: string, around: readonly Node[]): PatternRoots {
  const { root } = parsePattern(source, "u");
  const [start, ...items] = root.kind === "choice" ? [] : itemsOf(root);
  if (start === undefined || !isAnchor(start, "^")) return { all: [withoutAnchors(root, around)], none: [] };
  const looks: Extract<Node, { readonly kind: "look" }>[] = [];
  let rest = items;
  for (let [first] = rest; first?.kind === "look" && !first.behind; [first] = rest) {
    looks.push(first);
    rest = rest.slice(1);
  }
  const ahead = (negated: boolean): Node[] =>
    looks.filter((look) => look.negated === negated).map(({ body }) => fromStart(body, [ANYTHING]));
  const own = fromStart({ kind: "sequence", items: rest }, around);
  return { all: [own, ...ahead(false)], none: ahead(true) };
}

function withoutAnchors(node: Node, around: readonly Node[]): Node {
  if (node.kind === "choice") {
    return { kind: "choice", branches: node.branches.map((branch) => withoutAnchors(branch, around)) };
  }
  const [first, ...rest] = itemsOf(node);
  if (isAnchor(first, "^")) return fromStart({ kind: "sequence", items: rest }, around);
  return { kind: "sequence", items: [...around, fromStart(node, around)] };
}

/** @param behind what may stand at the end, where no anchor is */
function fromStart(node: Node, behind: readonly Node[]): Node {
  if (node.kind === "choice") {
    return { kind: "choice", branches: node.branches.map((branch) => fromStart(branch, behind)) };
  }
  const items = itemsOf(node);
  const ends = isAnchor(items.at(-1), "$");
  return { kind: "sequence", items: ends ? items.slice(0, -1) : [...items, ...behind] };
}

function itemsOf(node: Node): readonly Node[] {
  return node.kind === "sequence" ? node.items : [node];
}

function isAnchor(item: Node | undefined, symbol: string): boolean {
  return item?.kind === "assertion" && item.symbol === symbol;
}
