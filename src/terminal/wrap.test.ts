import { expect, test } from "bun:test";
import { wrapWords } from "./wrap.ts";
import { columnsOf } from "./style.ts";

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
