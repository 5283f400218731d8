import { expect, test } from "bun:test";
import { evaluate, expandTemplate } from "./template.ts";

test("loops nest and insert values", () => {
  const source = ["#for i in 0..2", "#for j in i..N", "a${N * i + j}", "#end", "#end", "z"].join("\n");
  expect(expandTemplate(source, { N: 3 })).toBe("a0\na1\na2\na4\na5\nz");
});

test("#if picks one side, also around loops and inside dropped text", () => {
  const source = [
    '#if KIND == "x" && !OFF',
    "x",
    "#for i in 0..2",
    "x${i}",
    "#end",
    "#else",
    "y",
    "#if OFF",
    "o",
    "#end",
    "#end",
  ];
  expect(expandTemplate(source.join("\n"), { KIND: "x", OFF: 0 })).toBe("x\nx0\nx1");
  expect(expandTemplate(source.join("\n"), { KIND: "x", OFF: 1 })).toBe("y\no");
});

test("#include inserts a file, expanded with the same names", () => {
  expect(expandTemplate("#include part\nb", { N: 7 }, { part: "a${N}" })).toBe("a7\nb");
});

test.each([
  ["1 + 2 * 3", 7],
  ["(1 + 2) * 3", 9],
  ["7 / 2 % 2", 1],
  ["10 - 2 - 3", 5],
  ["1 < 2 && 2 > 3 || 1 != 1", 0],
  ["!(1 == 2)", 1],
])("%s is %p", (expression, value) => {
  expect(evaluate(expression, {})).toBe(value);
});

test.each([
  ["#if A\n#end", "line 1: A is not defined"],
  ["#if 1", "line 1: #if without #end"],
  ["a\n#end", "line 2: #end or #else without #if or #for"],
  ["x\n${1 +}", 'line 2: "1 +" ends too early'],
  ["#for i of 3\n#end", "line 1: #for i of 3: not understood"],
  ["#include nowhere", "line 1: #include nowhere: no such file"],
  ["#unless 1\n#end", "line 1: #unless: unknown directive"],
  ["${1 2}", 'line 1: "1 2" is not understood at 2'],
])("%j is refused: %s", (source, message) => {
  expect(() => expandTemplate(source, {})).toThrow(message);
});

test("#include gives a file definitions of its own, as often as it is included", () => {
  const source = '#include part, NAME = "a", AT = N + 1\n#include part, NAME = KIND, AT = 2';
  expect(expandTemplate(source, { N: 3, KIND: "k" }, { part: "${NAME}${AT}${N}" })).toBe("a43\nk23");
  expect(() => expandTemplate("#include part, NAME", {}, { part: "" })).toThrow(
    "line 1: #include part, NAME: not understood",
  );
  expect(() => expandTemplate("#include part, A = 1\n${A}", {}, { part: "" })).toThrow("line 2: A is not defined");
});

test("#use inserts a library once, wherever it is used", () => {
  const includes = { one: "#use lib\n1", two: "#use lib\n#include lib\n2", lib: "l" };
  expect(expandTemplate("#if 0\n#use lib\n#end\n#include one\n#include two\n#use lib", {}, includes)).toBe(
    "l\n1\nl\n2",
  );
  expect(() => expandTemplate("#use nowhere", {})).toThrow("line 1: #include nowhere: no such file");
});

test("#block names lines for the files included below it, expanded where they are inserted", () => {
  const source = "#block load\n#for i in 0..2\nload ${i + at}\n#end\n#end\n#for at in 0..2\n#include core\n#end";
  expect(expandTemplate(source, {}, { core: "begin\n#include load\nend" })).toBe(
    "begin\nload 0\nload 1\nend\nbegin\nload 1\nload 2\nend",
  );
  expect(() => expandTemplate("#block a\n#if 1\n#end", {})).toThrow("line 1: #block without #end");
});
