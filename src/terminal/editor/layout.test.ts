import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Layouter, wrap } from "./layout.ts";

const layOut = (text: string, cursor: number, columns: number) => new Layouter().layOut(text, cursor, columns);

describe("rows", () => {
  test.each([
    ["", 0, 5, [""], 0, 0],
    ["abc", 1, 5, ["abc"], 0, 1],
    ["abcdefg", 6, 5, ["abcde", "fg"], 1, 1],
    ["abcdefg", 5, 5, ["abcde", "fg"], 1, 0],
    ["abcde", 5, 5, ["abcde", ""], 1, 0],
    ["abcde\nf", 5, 5, ["abcde", "", "f"], 1, 0],
    ["abcde\nf", 6, 5, ["abcde", "f"], 1, 0],
    ["a\n\nb", 2, 5, ["a", "", "b"], 1, 0],
    ["埋め込み", 2, 5, ["埋め", "込み"], 1, 0],
    ["埋め込み", 1, 3, ["埋", "め", "込", "み"], 1, 0],
    ["a\tb", 2, 9, ["a    b"], 0, 5],
    ["a\u001bb\u009b", 2, 9, ["a^[b\uFFFD"], 0, 3],
    ["e\u0301e\u0301", 2, 1, ["e\u0301", "e\u0301"], 1, 0],
    ["👩‍🔬", 5, 1, ["👩‍🔬", ""], 1, 0],
  ])("%j with the cursor at %d in %d columns", (text, cursor, columns, rows, row, column) => {
    expect(layOut(text, cursor, columns)).toEqual({ rows, cursor: { row, column } });
  });
});

const texts = fc.string({
  unit: fc.constantFrom("a", "b", " ", "é", "埋", "👩‍🔬", "\n", "\t", "e\u0301"),
  maxLength: 60,
});

test("rows hold the whole text, none wider than the terminal", () => {
  fc.assert(
    fc.property(texts, fc.integer({ min: 4, max: 12 }), (text, columns) => {
      for (const line of text.split("\n")) {
        const rows = wrap(line, columns);
        expect(rows.map(({ start, end }) => line.slice(start, end)).join("")).toBe(line);
        for (const { width } of rows) expect(width).toBeLessThanOrEqual(columns);
      }
    }),
    { numRuns: 300 },
  );
});

test("a layout that was remembered is the layout", () => {
  const layouter = new Layouter();
  fc.assert(
    fc.property(fc.array(texts, { maxLength: 4 }), fc.integer({ min: 4, max: 6 }), (versions, columns) => {
      for (const text of versions) {
        expect(layouter.layOut(text, text.length, columns)).toEqual(layOut(text, text.length, columns));
      }
    }),
    { numRuns: 100 },
  );
});
