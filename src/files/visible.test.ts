import { expect, test } from "bun:test";
import { oneLine, quote } from "./failure.ts";
import { escaped, visible, visibleLines } from "./visible.ts";

const NASTY = "a\x1b[2J\x07b\n\tc\x9b1md\x7f\u202ee\u2066f";

test("nothing that steers a terminal is left, and everything else is", () => {
  expect(visible(NASTY)).toBe("a␛[2J␇b␊␉c\uFFFD1md\uFFFD\uFFFDe\uFFFDf");
  expect(visibleLines(NASTY)).toBe("a␛[2J␇b\n\tc\uFFFD1md\uFFFD\uFFFDe\uFFFDf");
  expect(escaped(NASTY)).toBe('"a\\u001b[2J\\u0007b\\n\\tc\\u009b1md\\u007f\\u202ee\\u2066f"');
  expect(JSON.parse(escaped(NASTY))).toBe(NASTY);
  const plain = "model.layers.0 é 漢字 👩‍🚀 \u200f\u00a0";
  expect([visible(plain), JSON.parse(escaped(plain))]).toEqual([plain, plain]);
});

test("names and paths in errors are made so", () => {
  for (const shown of [quote(NASTY), oneLine(NASTY)]) expect(shown).not.toMatch(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u);
});
