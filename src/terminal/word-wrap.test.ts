import { expect, test } from "bun:test";
import fc from "fast-check";
import { columnsOf } from "./style.ts";
import { WordWrap, wrapWords } from "./word-wrap.ts";

function wrapped(pieces: readonly string[], columns: number): string {
  const wrap = new WordWrap(() => columns);
  return pieces.map((piece) => wrap.push(piece)).join("") + wrap.flush();
}

test.each([
  ["one two three\n  four", 8, "one two\nthree\n  four"],
  ["a \x1b[1mbold\x1b[22m word", 8, "a \x1b[1mbold\x1b[22m\nword"],
  ["こんにちは世界", 8, "こんにち\nは世界"],
  [`a ${"x".repeat(50)} b`, 51, `a\n${"x".repeat(50)}\nb`],
])("%j is broken at words, of %d columns", (text, columns, lines) => {
  expect(wrapped([text], columns)).toBe(lines);
});

test("words come as soon as they end, whatever the pieces, and none is lost or broken", () => {
  const wrap = new WordWrap(() => 10);
  expect(["one", " t", "wo thr"].map((piece) => wrap.push(piece))).toEqual(["", "one", " two"]);
  expect(wrap.push("ee")).toBe("");
  expect(wrap.flush()).toBe("\nthree");
  const words = fc.array(fc.constantFrom("a", "word", "longest", "é", " ", " ", "\n", "\x1b[1mb\x1b[22m"), {
    maxLength: 40,
  });
  fc.assert(
    fc.property(words, (pieces) => {
      const text = pieces.join("");
      const lines = wrapped(pieces, 12);
      expect(lines).toBe(wrapped([text], 12));
      expect(lines.trim().split(/\s+/)).toEqual(text.trim().split(/\s+/));
      fc.pre(text.split(/\s+/).every((word) => Bun.stringWidth(word) <= 12));
      for (const line of lines.split("\n")) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(12);
    }),
  );
});

test("lines break at blanks, and a word that is too long stays whole", () => {
  expect(wrapWords("a short line", 12)).toEqual(["a short line"]);
  expect(wrapWords("hint: give --alpha or --beta", 14)).toEqual(["hint: give", "--alpha or", "--beta"]);
  expect(wrapWords("see /a/path/that/is/long there", 10)).toEqual(["see", "/a/path/that/is/long", "there"]);
});

test("a terminal that says it has no columns has 80", () => {
  const terminal = { isTTY: true, write: () => true };
  expect(
    [undefined, 0, 10, 100].map((columns) => columnsOf({ ...terminal, ...(columns === undefined ? {} : { columns }) })),
  ).toEqual([80, 80, 20, 100]);
});
