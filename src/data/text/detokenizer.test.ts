import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FAMILIES, familyTokenizer, readGolden } from "./testing/families.ts";
import type { Tokenizer } from "./tokenizer.ts";

function stream(tokenizer: Tokenizer, ids: readonly number[]): string[] {
  const detokenizer = tokenizer.detokenizer();
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.flush()];
}

describe.each(FAMILIES)("%s", (family) => {
  test("adds up to what Python decodes at once", async () => {
    const tokenizer = await familyTokenizer(family);
    for (const [ids, text] of (await readGolden(family)).decoded) expect(stream(tokenizer, ids).join("")).toBe(text);
  });

  // The text so far, ended here and now, begins with all that was called final: nothing is ever taken back.
  test("takes nothing back", async () => {
    const tokenizer = await familyTokenizer(family);
    const id = fc.nat({ max: tokenizer.vocabSize });
    fc.assert(
      fc.property(fc.array(id, { maxLength: 12 }), fc.array(id, { maxLength: 4 }), (head, tail) => {
        const final = stream(tokenizer, head).slice(0, -1).join("");
        expect(tokenizer.decode(head)).toStartWith(final);
        expect(tokenizer.decode([...head, ...tail])).toStartWith(final);
      }),
      { numRuns: 200 },
    );
  });
});

test("byte-level BPE holds back half characters, and only those", async () => {
  const tokenizer = await familyTokenizer("llama3");
  const ids = tokenizer.encode("a𐍈b", { special: false }); // four bytes, a token each
  expect(ids).toHaveLength(6);
  expect(stream(tokenizer, ids)).toEqual(["a", "", "", "", "𐍈", "b", ""]);
  expect(stream(tokenizer, ids.slice(0, 3))).toEqual(["a", "", "", "\ufffd"]);
  expect(stream(tokenizer, [...ids.slice(0, 3), ...ids.slice(5)])).toEqual(["a", "", "", "\ufffdb", ""]);
});

test("byte fallback holds back a run of bytes: one bad byte spoils all of it", async () => {
  const tokenizer = await familyTokenizer("llama2");
  const byte = (value: number) => tokenizer.tokenToId(`<0x${value.toString(16).toUpperCase()}>`) ?? -1;
  const word = tokenizer.tokenToId("a") ?? -1;
  const good = [0xc3, 0xa9].map(byte); // é
  expect(stream(tokenizer, [...good, word])).toEqual(["", "", "éa", ""]);
  expect(stream(tokenizer, [...good, byte(0xff), word])).toEqual(["", "", "", "\ufffd\ufffd\ufffda", ""]);
  expect(stream(tokenizer, good)).toEqual(["", "", "é"]);
});

test("sentencepiece strips the first space of the text, not of every piece", async () => {
  const tokenizer = await familyTokenizer("llama2");
  const space = tokenizer.tokenToId("▁") ?? -1;
  expect(stream(tokenizer, [space, space, space])).toEqual(["", " ", " ", ""]);
});

test("what follows a special token that is left out still counts as the text's beginning", async () => {
  const tokenizer = await familyTokenizer("llama2");
  const ids = tokenizer.encode("Hi");
  expect(tokenizer.decode(ids, { skipSpecial: true })).toBe("Hi");
  expect(tokenizer.decode(ids)).toBe("<s> Hi");
});

test("a byte order mark is text", async () => {
  const tokenizer = await familyTokenizer("llama3");
  const ids = tokenizer.encode("\ufeffx", { special: false });
  expect(stream(tokenizer, ids).join("")).toBe("\ufeffx");
});

test("it is known where a token begins, within and behind a run of bytes as well", async () => {
  const tokenizer = await familyTokenizer("llama2");
  const run = [0xc3, 0xa9, 0xf0, 0x9f, 0x99, 0x82]; // é🙂
  const bytes = run.map((value) => tokenizer.tokenToId(`<0x${value.toString(16).toUpperCase()}>`) ?? -1);
  const word = tokenizer.tokenToId("a") ?? -1;
  const detokenizer = tokenizer.detokenizer();
  let final = 0;
  const begins = [word, ...bytes, word, word].map((id) => {
    const begin = final + detokenizer.held;
    final += detokenizer.push(id).length;
    return begin;
  });
  expect(begins).toEqual([0, 1, 1, 2, 2, 2, 2, 4, 5]);
});
