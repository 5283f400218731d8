import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { LinearRegExp } from "./linear-regexp.ts";
import { Matcher } from "./matcher.ts";
import { parsePattern } from "./parse.ts";
import { compile } from "./program.ts";
import { RegexLimitError } from "./syntax.ts";

const ATOMS =
  String.raw`a b . [ab] [^a] \w \s \d \p{L} \P{L} é \u{1f600} \ud83d\ude00 \ud83d \n \b \B ^ $ \x41 \t \. \cJ
  (?i:S) (?i:\w) (?i:[k-s]) (?m:^) (?m:$) (?s:.) (?-s:.) (a*)\1 (a|b)\1 (?i:(S)\1) (?:(?=([ab]*))\1)`.split(/\s+/);
const QUANTIFIERS = ["*", "+", "?", "{2}", "{1,2}", "{0,2}", "{2,}", "{0}"];

const { expression } = fc.letrec<{ expression: string }>((tie) => {
  const inner = tie("expression");
  const quantifier = fc.constantFrom(...QUANTIFIERS.flatMap((q) => [q, `${q}?`]));
  return {
    expression: fc.oneof(
      { maxDepth: 5, depthSize: "large" },
      fc.constantFrom(...ATOMS),
      fc.tuple(inner, inner).map(([a, b]) => a + b),
      fc.tuple(inner, inner).map(([a, b]) => `(?:${a}|${b})`),
      fc.tuple(inner, inner, inner).map(([a, b, c]) => `(?:${a}|${b}|${c})`),
      inner.map((a) => `(${a})`),
      fc.tuple(inner, quantifier).map(([a, q]) => `(?:${a})${q}`),
      fc.tuple(fc.constantFrom("a", ".", "[ab]", String.raw`\p{L}`, String.raw`\s`), quantifier).map(([a, q]) => a + q),
      fc.tuple(inner, fc.constantFrom("(?=", "(?!", "(?<=", "(?<!")).map(([a, look]) => `${look}${a})`),
    ),
  };
});
const units = fc.constantFrom("a", "b", "a", "é", "😀", "\ud83d", "\n", " ", "1", "s", "ſ", "\u212a", "A", ".");
const text = fc.array(units, { maxLength: 20 }).map((parts) => parts.join(""));

function isExpression(source: string, mode: "u" | "v"): boolean {
  try {
    return new RegExp(source, mode) instanceof RegExp;
  } catch {
    return false;
  }
}

/** What was found, where a table of failures is kept from the first step on. */
function findRemembering(source: string, mode: "u" | "v", within: string) {
  const { root, groups } = parsePattern(source, mode);
  const matcher = new Matcher(compile(root, groups), within, 0);
  return matcher.find(0) ? { start: matcher.start, end: matcher.end } : undefined;
}

test.each([
  ["u", 800],
  ["v", 300],
] as const)("finds what the native engine finds, groups too: flag %s", (mode, numRuns) => {
  fc.assert(
    fc.property(
      expression.filter((source) => isExpression(source, mode)),
      text,
      (source, within) => {
        const ours = new LinearRegExp(source, mode);
        const all = [...within.matchAll(new RegExp(source, `g${mode}`))].map((match) => ({
          start: match.index,
          end: match.index + match[0].length,
        }));
        expect([...ours.matchAll(within)]).toEqual(all);
        expect(findRemembering(source, mode, within)).toEqual(all[0]);
        expect(ours.matchStart(within)).toEqual(new RegExp(source, `y${mode}`).exec(within)?.slice());
        for (const { start, end } of all) expect(end - start).toBeGreaterThanOrEqual(ours.minLength);
      },
    ),
    { numRuns },
  );
});

describe("what keeps the native engine busy for ever ends", () => {
  const A = "a".repeat(100_000);
  test.each([
    ["(a+)+$", `${A}b`],
    [String.raw`\s+$`, `${" ".repeat(100_000)}x`],
    [String.raw`(?:\s)+$`, `${" ".repeat(100_000)}x`],
    [String.raw`(.|.)*\d\d`, A],
    ["(?:a*)*(?:a*)*b", A],
    ["a*a*a*a*b", A],
    ["(a|aa)+$", `${A}b`],
    ["(?:a|b)*?c", A],
    ["(?:.*?,){20}x", ",".repeat(10_000)],
    ["(?:(?!b)a)+$", `${A}b`],
    ["(?:[a-z]*[0-9]*)*x", "a1".repeat(50_000)],
    ["(?=(a+)+$)b", `${A}c`],
  ])("%s", (source, within) => {
    expect([...new LinearRegExp(source, "u").matchAll(within)]).toEqual([]);
  });

  test.each([
    [String.raw`(a*)\1*b`, A],
    [String.raw`(?:(a|b|ab)(?=.*\1))*c`, "ab".repeat(5000)],
    // Each comparison without case compiled an expression as long as the text: half a minute.
    [String.raw`(?i:(a+)\1)b`, "a".repeat(300) + "A".repeat(3000)],
  ])(
    "%s, where nothing can be remembered, by a count of steps",
    (source, within) => {
      expect(() => [...new LinearRegExp(source, "u").matchAll(within)]).toThrow("takes too many steps");
    },
    15_000,
  );
});

test.each([
  ["(".repeat(10_000) + ")".repeat(10_000), "nested"],
  ["(?:a{1,1000}){1,1000}b|(?:(?:aa){1,1000}){1,1000}", "too large"],
  ["(?:ab){1000000000000}", "too large"],
  [`(?<n>a)${"\\k<n>"}`, "by name"],
  ["a".repeat(300_000), "longer than"],
])("a pattern that is too much is refused, in little time (%#)", (source, message) => {
  const refusal = expect(() => new LinearRegExp(source, "u"));
  refusal.toThrow(message);
  refusal.toThrow(RegexLimitError);
});

test.each(["(?:){1000000000}a", "(?:(?:){99999}){99999}a", "a{1000000000,}b", "(?:a{0,1000000000})*c"])(
  "counts alone cost nothing: %s",
  (source) => {
    expect([...new LinearRegExp(source, "u").matchAll("bab")]).toEqual(
      source.endsWith("}a") ? [{ start: 1, end: 2 }] : [],
    );
  },
);
