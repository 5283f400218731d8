import { describe, expect, test } from "bun:test";
import { refusalOf } from "../../files/testing/folder.ts";
import { parseCsv } from "./csv.ts";

const fieldsOf = (text: string, separator?: string) =>
  [...parseCsv(text, "x.csv", separator)].map(({ fields }) => fields);

describe("parseCsv", () => {
  test("reads quotes, separators and newlines inside of them, CRLF and blank lines", () => {
    expect(fieldsOf('path,label\r\n"a, b.jpg","say ""hi"""\r\n\r\nc.jpg,"two\nlines"')).toEqual([
      { path: "a, b.jpg", label: 'say "hi"' },
      { path: "c.jpg", label: "two\nlines" },
    ]);
    expect(fieldsOf("a;b\n1;2\n", ";")).toEqual([{ a: "1", b: "2" }]);
    // Short rows end with missing values, as pandas has them.
    expect(fieldsOf("a,b,c\n1\n \n2,3")).toEqual([
      { a: "1", b: "", c: "" },
      { a: "2", b: "3", c: "" },
    ]);
    expect(fieldsOf("")).toEqual([]);
    expect(fieldsOf("a,b\n")).toEqual([]);
    expect([...parseCsv('a\n"x\ny"\nz\n', "x.csv")].map(({ line }) => line)).toEqual([2, 4]);
  });

  test.each([
    ["a;b\n1;2\n", "line 1: no comma between the columns' names, but semicolons"],
    ["a\tb\n", "line 1: no comma between the columns' names, but tabs"],
    ["a,b, a\n1,2,3\n", 'line 1: two columns are called "a"'],
    [",".repeat(10_001), "line 1: more than 10000 columns"],
    ["a,b\n1,2,3\n", "line 2: 3 values for 2 columns"],
    ['a\nx\n"y', "line 3: a quote that does not close"],
  ])("refuses %j", async (text, told) => {
    expect((await refusalOf(() => [...parseCsv(text, "x.csv")])).message).toBe(`x.csv: ${told}`);
  });
});
