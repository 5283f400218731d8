import { expect, test } from "bun:test";
import * as v from "valibot";
import { AddedToken, TokenSplitter } from "./added-tokens.ts";
import { buildPreTokenizer } from "./pre-tokenizer.ts";

const splitter = new TokenSplitter(
  v.parse(v.array(AddedToken), [
    { id: 1, content: "<r>", rstrip: true },
    { id: 2, content: "<l>", lstrip: true },
    { id: 3, content: "  " },
  ]),
);

/** What tokenizers 0.23 gives for the same tokens, unknown text left as it is. */
test.each([
  ["a   <r>   b", ["a", 3, " ", 1, 3, " b"]],
  ["a<r>  ", ["a", 1, 3]],
  ["a   <l>   b", ["a", 3, 2, 3, " b"]],
  ["<r> <l>", [1, 2]],
])("white space that a token takes along may be a token itself: %j", (text, sections) => {
  expect(splitter.split(text)).toEqual(sections);
});

test("a piece is a text's first where nothing was removed before it", () => {
  const cut = buildPreTokenizer({
    type: "Sequence",
    pretokenizers: [{ type: "WhitespaceSplit" }, { type: "Metaspace", replacement: "▁", prepend_scheme: "first" }],
  });
  expect([...cut("a b", true)]).toEqual(["▁a", "b"]);
  expect([...cut(" a b", true)]).toEqual(["a", "b"]);
});

test("words are Rust's: a joiner belongs to them", () => {
  const cut = buildPreTokenizer({ type: "Whitespace" });
  expect([...cut("a\u200db, c_1 é😀\u200d😀", true)]).toEqual(["a\u200db", ",", "c_1", "é", "😀", "\u200d", "😀"]);
});
