import { expect, test } from "bun:test";
import { join } from "node:path";
import { budget, codeLines, sizesOf, smallFiles, table } from "./size.ts";

const ROOT = join(import.meta.dir, "..");

test("no part is larger than its budget: what grows somewhere shrinks elsewhere, or `npm run size -- --write` says that it grew", () => {
  const { parts, small } = budget();
  const sizes = sizesOf(ROOT);
  const larger = Object.entries(sizes).filter(
    ([part, { files, lines }]) => files > (parts[part]?.files ?? 0) || lines > (parts[part]?.lines ?? 0),
  );
  expect(larger.length === 0 ? "" : table(sizes, parts)).toBe("");
  expect(smallFiles(ROOT).length).toBeLessThanOrEqual(small);
});

test("a line counts where it holds more than a comment", () => {
  const text = "/**\n * why\n */\nconst a = 1; // here\n\n// there\n/* b */\n  call(\n    a,\n  );\n";
  expect(codeLines(text)).toEqual(["const a = 1; // here", "  call(", "    a,", "  );"]);
});

test("the table has a part that came, one that went, and what did not change", () => {
  const size = (files: number, lines: number) => ({ files, lines, tokens: 7 });
  const rows = table(
    { b: size(2, 20), c: size(1, 5), all: size(3, 25) },
    { a: size(1, 3), b: size(2, 30), all: size(3, 33) },
  );
  expect(rows.split("\n").map((row) => row.split(/ {2,}/))).toEqual([
    ["part", "files", "lines", "tokens"],
    ["a", "0 (-1)", "0 (-3)", "0 (-7)"],
    ["b", "2", "20 (-10)", "7"],
    ["c", "1 (+1)", "5 (+5)", "7 (+7)"],
    ["all", "3", "25 (-8)", "7"],
  ]);
});
