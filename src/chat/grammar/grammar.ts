import { HARMONY_MARKS, SPELLED } from "../../data/text/harmony.ts";
import { RandloraError } from "../../files/errors.ts";

/** What a text may be: bytes of UTF-8, put together. */
export type Expression =
  /** One byte of these ranges, both ends included. */
  | { readonly kind: "byte"; readonly ranges: readonly (readonly [number, number])[] }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "sequence"; readonly parts: readonly Expression[] }
  | { readonly kind: "choice"; readonly options: readonly Expression[] }
  /** `max` may be Infinity. */
  | { readonly kind: "repeat"; readonly part: Expression; readonly min: number; readonly max: number }
  | { readonly kind: "rule"; readonly name: string }
  /** The parts of ways from the first node to one that ends. */
  | { readonly kind: "graph"; readonly nodes: readonly GraphNode[] };

/** Where a text may end, or go on by the part of a way to another node. */
export interface GraphNode {
  readonly ways: readonly { readonly part: Expression; readonly to: number }[];
  readonly isEnd: boolean;
}

/** A context-free grammar; a text follows the rule {@link WHOLE} where there is one, else `root`. */
export type Grammar = ReadonlyMap<string, Expression>;

/** The rule that a text follows which is asked for. */
export const ROOT = "root";
/** The rule that a whole answer follows, marks of its format included; no client's grammar has such a name. */
export const WHOLE = "whole answer";

export const text = (value: string): Expression => ({ kind: "text", text: value });
export const sequence = (...parts: readonly Expression[]): Expression => ({ kind: "sequence", parts });
export const choice = (...options: readonly Expression[]): Expression => ({ kind: "choice", options });
export const rule = (name: string): Expression => ({ kind: "rule", name });
export const repeat = (part: Expression, min: number, max = Infinity): Expression => ({
  kind: "repeat",
  part,
  min,
  max,
});
/** A rule of its own, so that it is there once however often it is used. */
export const graph = (nodes: readonly GraphNode[]): Expression => repeat({ kind: "graph", nodes }, 1, 1);
export const maybe = (part: Expression): Expression => repeat(part, 0, 1);

/** No byte of UTF-8: bytes from here on stand for special tokens of an answer's format, which are no text. */
const FIRST_SPECIAL = 0xf8;
/** Of UTF-8, the largest. */
export const LAST_BYTE = 0xf4;

/** The byte that stands for a special token of an answer's format; undefined: it is none. */
export function specialByte(token: string): number | undefined {
  const at = HARMONY_MARKS.indexOf(token);
  return at < 0 ? undefined : FIRST_SPECIAL + at;
}

/** May these be bytes of a text? */
export function areText(bytes: readonly number[]): boolean {
  return bytes.every((byte) => byte <= LAST_BYTE);
}

/** A text of an answer, in which special tokens of its format are those. */
export function marked(value: string): Expression {
  return sequence(
    ...value.split(SPECIAL).map((part): Expression => {
      const byte = specialByte(part);
      return byte === undefined ? text(part) : { kind: "byte", ranges: [[byte, byte]] };
    }),
  );
}

/** A grammar, or a schema, that cannot be followed: the client's mistake. */
export function grammarError(message: string): RandloraError {
  return new RandloraError("data", message, "change the grammar or the schema");
}

/** Ends of the code points that UTF-8 writes with 1, 2, 3 and 4 bytes. */
const LENGTHS = [0x7f, 0x7ff, 0xffff, 0x10ffff] as const;
const SPECIAL = new RegExp(`(${SPELLED.source})`);
const SURROGATES = [0xd800, 0xdfff] as const;

/** One code point of these ranges, both ends included, as UTF-8; surrogates are no characters. */
export function characters(ranges: readonly (readonly [number, number])[]): Expression {
  const options: Expression[] = [];
  const ascii: (readonly [number, number])[] = [];
  for (const [first, last] of ranges.flatMap(withoutSurrogates)) {
    let from = first;
    for (const end of LENGTHS) {
      if (from > end || from > last) continue;
      const to = Math.min(last, end);
      if (to <= 0x7f) ascii.push([from, to]);
      else options.push(...byteSequences(bytesOf(from), bytesOf(to)));
      from = to + 1;
    }
  }
  if (ascii.length > 0) options.push({ kind: "byte", ranges: ascii });
  return choice(...options);
}

function withoutSurrogates([first, last]: readonly [number, number]): (readonly [number, number])[] {
  const [low, high] = SURROGATES;
  const parts: (readonly [number, number])[] = [
    [first, Math.min(last, low - 1)],
    [Math.max(first, high + 1), last],
  ];
  return last < low || first > high ? [[first, last]] : parts.filter(([from, to]) => from <= to);
}

function bytesOf(codePoint: number): readonly number[] {
  return [...new TextEncoder().encode(String.fromCodePoint(codePoint))];
}

/** Sequences of as many bytes, from one to another in their order. */
function byteSequences(from: readonly number[], to: readonly number[]): Expression[] {
  const [low = 0, ...lowRest] = from;
  const [high = 0, ...highRest] = to;
  if (lowRest.length === 0) return [{ kind: "byte", ranges: [[low, high]] }];
  const behind = (first: number, last: number, rest: readonly Expression[]): Expression =>
    sequence({ kind: "byte", ranges: [[first, last]] }, choice(...rest));
  const least = lowRest.map(() => 0x80);
  const most = lowRest.map(() => 0xbf);
  if (low === high) return [behind(low, high, byteSequences(lowRest, highRest))];
  const startsLow = lowRest.every((byte) => byte === 0x80);
  const endsHigh = highRest.every((byte) => byte === 0xbf);
  const first = startsLow ? low : low + 1;
  const last = endsHigh ? high : high - 1;
  return [
    ...(startsLow ? [] : [behind(low, low, byteSequences(lowRest, most))]),
    ...(first <= last ? [behind(first, last, byteSequences(least, most))] : []),
    ...(endsHigh ? [] : [behind(high, high, byteSequences(least, highRest))]),
  ];
}

/**
 * Any text, but what stands behind the first of a mark follows `behind`.
 * @param name of its rules, which are added
 * @param mayEnd it may end without the mark
 */
export function textUpTo(
  mark: string,
  name: string,
  behind: Expression,
  rules: Map<string, Expression>,
  mayEnd = true,
): Expression {
  const bytes = new TextEncoder().encode(mark);
  const end = mayEnd ? [text("")] : [];
  for (const begun of bytes.keys()) rules.set(`${name} ${begun}`, choice(...end, ...waysBehind(bytes, begun, name)));
  rules.set(`${name} ${bytes.length}`, behind);
  return rule(`${name} 0`);
}

/** What may follow a text whose end is the first `begun` bytes of a mark (Knuth, Morris and Pratt's automaton). */
function waysBehind(mark: Uint8Array, begun: number, name: string): Expression[] {
  const inMark = [...new Set(mark)].toSorted((left, right) => left - right);
  const ways = inMark.map((byte) => {
    const seen = [...mark.subarray(0, begun), byte];
    let length = seen.length;
    while (!seen.slice(seen.length - length).every((one, at) => one === mark[at])) length--;
    return sequence({ kind: "byte", ranges: [[byte, byte]] }, rule(`${name} ${length}`));
  });
  const edges = [-1, ...inMark, LAST_BYTE + 1];
  const others = edges.slice(1).map((edge, at): [number, number] => [(edges[at] ?? 0) + 1, edge - 1]);
  const ranges = others.filter(([first, last]) => first <= last);
  return [...ways, sequence({ kind: "byte", ranges }, rule(`${name} 0`))];
}

/** One of those that are possible; undefined: none is. */
export function either(options: readonly (Expression | undefined)[]): Expression | undefined {
  const possible = options.filter((one) => one !== undefined);
  const [only] = possible;
  return possible.length <= 1 ? only : choice(...possible);
}
