import { expect, test } from "bun:test";
import { wrapWords } from "./wrap.ts";

test("lines break at blanks, and a word that is too long stays whole", () => {
  expect(wrapWords("a short line", 12)).toEqual(["a short line"]);
  expect(wrapWords("hint: give --alpha or --beta", 14)).toEqual(["hint: give", "--alpha or", "--beta"]);
  expect(wrapWords("see /a/path/that/is/long there", 10)).toEqual(["see", "/a/path/that/is/long", "there"]);
});
