import { expect, test } from "bun:test";
import { findBlocks } from "./jinja.ts";

test("finds statements and expressions, and where each ends", () => {
  const source = "a {% set x = 1 %}\n{# {{ no }} #}\n{{ x\n}} b {%- if '%}' in \"{{\" -%}";
  expect(findBlocks(source).map(({ line, end }) => [line, source.slice(0, end).slice(-4)])).toEqual([
    [1, "1 %}"],
    [3, "x\n}}"],
    [4, " -%}"],
  ]);
});

test("braces of objects do not close an expression", () => {
  const source = '{{ {"a": {"b": "}}"}} }}\n{{ 1 }}';
  expect(findBlocks(source)).toEqual([
    { line: 1, end: 24 },
    { line: 2, end: source.length },
  ]);
});

test("what never closes ends with the template", () => {
  expect(findBlocks("{{ 'a\\'}}")).toEqual([{ line: 1, end: 9 }]);
  expect(findBlocks("{# {{ a }}")).toEqual([]);
});
