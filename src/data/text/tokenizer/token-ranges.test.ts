import { describe, expect, spyOn, test } from "bun:test";
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

const TURN = "User: e\u0301t\u0327e ﬁ ist  da, 😀\u0301\n\nAssistant:\t ja, wirk▁lich\u0308 \n";
const turnsOf = (turns: number) =>
  Array.from({ length: turns }, (_, i) => ({ start: TURN.length * i + 31, end: TURN.length * (i + 1) - (i % 3) }));

test.each([...FAMILIES, "unigram", "t5", "clip"] as const)(
  "spans of a long text are marked as each by itself is up to its end, and from its start: %s",
  async (family) => {
    const tokenizer = await familyTokenizer(family);
    const text = TURN.repeat(15);
    const of = (start: number, end: number) => tokenizer.encodeMarked(text, [{ start, end }]).marks;
    const expected = tokenizer.encode(text, { special: false }).map(() => 0);
    for (const { start, end } of turnsOf(15)) {
      const upTo = of(0, end);
      for (const [t, from] of of(start, text.length).entries()) if (from === 1 && upTo[t] === 1) expected[t] = 1;
    }
    expect(tokenizer.encodeMarked(text, turnsOf(15)).marks).toEqual(expected);
  },
);

test("to mark the turns of a conversation in one section takes work that follows its length", async () => {
  const qwen = await familyTokenizer("qwen2");
  const workOf = (turns: number) => {
    using normalize = spyOn(String.prototype, "normalize");
    qwen.encodeMarked(TURN.repeat(turns), turnsOf(turns));
    return normalize.mock.contexts.reduce<number>((sum, text) => sum + String(text).length, 0);
  };
  const work = workOf(50);
  expect(work).toBeGreaterThan(TURN.length * 50);
  expect(workOf(400)).toBeLessThan(9 * work);
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
