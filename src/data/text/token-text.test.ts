import { describe, expect, test } from "bun:test";
import { FAMILIES, familyTokenizer, readSamples } from "./testing/families.ts";
import { TokenTexts } from "./token-text.ts";

const SAMPLES = await readSamples();

// CLIP's decoder makes spaces of the ends of words, which is no matter of single tokens.
describe.each(FAMILIES.filter((family) => family !== "clip"))("%s", (family) => {
  test("bytes of tokens add up to the text, halves of characters included", async () => {
    const tokenizer = await familyTokenizer(family);
    const texts = new TokenTexts(tokenizer);
    let checked = 0;
    for (const sample of SAMPLES) {
      const ids = tokenizer.encode(sample, { special: false });
      const whole = tokenizer.decode(ids);
      const bytes = ids.map((id) => texts.of(id).bytes);
      // Unknown characters, and decoders that look at neighbors, have no bytes of their own.
      if (whole.includes("\uFFFD") || bytes.includes(null)) continue;
      const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(
        Uint8Array.from(bytes.flatMap((some) => some ?? [])),
      );
      expect(text.trimStart()).toBe(whole.trimStart());
      checked++;
    }
    expect(checked).toBeGreaterThan(50);
  });
});

test("a word keeps its space", async () => {
  const tokenizer = await familyTokenizer("llama2");
  const ids = tokenizer.encode("one two", { special: false });
  const texts = new TokenTexts(tokenizer);
  expect(ids.map((id) => texts.of(id).text)).toEqual([" ", "on", "e", " t", "w", "o"]);
  expect(texts.of(tokenizer.tokenToId("<0xC3>") ?? NaN)).toEqual({ text: "\uFFFD", bytes: [0xc3] });
});
