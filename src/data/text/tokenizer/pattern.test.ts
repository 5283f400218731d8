import fc from "fast-check";
import { describe, expect, test } from "bun:test";
import { compilePattern, KNOWN_PATTERNS } from "./pattern.ts";
import { PartError } from "./part.ts";
import { BEHAVIORS, splitText } from "./pre-tokenizer.ts";

const DASH = compilePattern({ String: "-" });

// The table in the documentation of tokenizers' SplitDelimiterBehavior.
test.each([
  ["Removed", ["the", "final", "countdown"]],
  ["Isolated", ["the", "-", "final", "-", "-", "countdown"]],
  ["MergedWithPrevious", ["the-", "final-", "-", "countdown"]],
  ["MergedWithNext", ["the", "-final", "-", "-countdown"]],
  ["Contiguous", ["the", "-", "final", "--", "countdown"]],
] as const)("%s", (behavior, pieces) => {
  expect([...splitText("the-final--countdown", DASH, behavior)]).toEqual([...pieces]);
});

test("inverted, what does not match is the delimiter", () => {
  expect([...splitText("ab--c", compilePattern({ Regex: "[a-z]+" }), "Removed", true)]).toEqual(["ab", "c"]);
});

test("loses nothing but what is removed", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom("a", "-", "😀") }), fc.boolean(), (text, invert) => {
      for (const behavior of BEHAVIORS) {
        const pieces = [...splitText(text, DASH, behavior, invert)];
        expect(pieces).not.toContain("");
        if (behavior !== "Removed") expect(pieces.join("")).toBe(text);
      }
    }),
    { numRuns: 200 },
  );
});

describe("patterns", () => {
  test("a String is no expression", () => {
    expect([...splitText("a.b$&c", compilePattern({ String: ".b$&" }), "Removed")]).toEqual(["a", "c"]);
  });

  test("(?i:…) folds the long s, as Oniguruma does", () => {
    const pattern = compilePattern({ Regex: "(?i:'s|'t)" });
    expect([...splitText("a'ſb'Sc'sd", pattern, "Removed")]).toEqual(["a", "b", "c", "d"]);
  });

  test("\\s is Unicode's white space: U+0085, not U+FEFF", () => {
    expect([...splitText("a\u0085b\ufeffc", compilePattern({ Regex: "\\s" }), "Removed")]).toEqual(["a", "b\ufeffc"]);
  });

  test("what JavaScript cannot express is refused", () => {
    expect(() => compilePattern({ Regex: "(?<=a(" })).toThrow(PartError);
  });
});

describe("patterns that the native engine runs", () => {
  const units = ["a", "A", "\u01c5", "中", "\u0301", "1", " ", "\n", "\r", "/", "!", "'s", "'", "\u0085", "😀"];

  test.each([...KNOWN_PATTERNS])("%s: no text keeps it busy", (regex) => {
    const pattern = compilePattern({ Regex: regex });
    for (const first of units) {
      for (const second of units) {
        const text = `${(first + second).repeat(1000)}${first.repeat(2000)}~`;
        expect([...pattern.matchAll(text)].at(-1)?.end).toBe(text.length);
      }
    }
  });

  test.each([...KNOWN_PATTERNS])("%s: ours finds the same", (regex) => {
    const native = compilePattern({ Regex: regex });
    const ours = compilePattern({ Regex: `(?:${regex})` });
    const text = fc.array(fc.constantFrom(...units), { maxLength: 30 }).map((parts) => parts.join(""));
    fc.assert(
      fc.property(text, (one) => {
        expect([...ours.matchAll(one)]).toEqual([...native.matchAll(one)]);
      }),
      { numRuns: 200 },
    );
  });
});
