import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { familyTokenizer, FIXTURES, type Family } from "../testing/families.ts";
import { tokenRanges } from "./token-ranges.ts";

/** What fixtures/tokenizers/marks.py writes. */
const Case = v.tuple([v.string(), v.array(v.tuple([v.number(), v.number()])), v.array(v.number())]);
const GOLDEN = v.parse(
  v.record(v.string(), v.array(Case)),
  await Bun.file(join(FIXTURES, "tokenizers", "marks.json")).json(),
);
const FAMILIES: readonly Family[] = ["llama3", "qwen2", "gpt2", "gpt4o", "gemma", "llama2", "mistral", "phi3"];

describe("tokens inside of spans are those that the reference's offsets tell", () => {
  test.each(FAMILIES)("%s", async (family) => {
    const tokenizer = await familyTokenizer(family);
    for (const [text, spans, marks] of GOLDEN[family] ?? []) {
      const encoded = tokenizer.encodeMarked(
        text,
        spans.map(([start, end]) => ({ start, end })),
      );
      expect(encoded.ids).toEqual(tokenizer.encode(text, { special: false }));
      expect([text, spans, encoded.marks]).toEqual([text, spans, marks]);
    }
  });
});

describe("the parts of a piece that tokens stand for", () => {
  test.each([
    ["abc", ["a", "bc"], ["a", "bc"]],
    ["a😀b", ["a", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "b"], ["a", "😀", "😀", "😀", "😀", "b"]],
    ["<0x41>x", ["<0x41>", "x"], ["<0x41>", "x"]],
    ["a??b", ["a", "<unk>", "b"], ["a", "??", "b"]],
    ["cat", ["c", "at</w>"], ["c", "at"]],
    ["??", ["<unk>"], ["??"]],
  ])("%s is %j", (piece, tokens, parts) => {
    expect(tokenRanges(piece, tokens).map(({ start, end }) => piece.slice(start, end))).toEqual(parts);
  });
});
