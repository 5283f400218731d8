import { expect, test } from "bun:test";
import { familyTokenizer } from "../../data/text/testing/families.ts";
import { echoOf } from "./answer-text.ts";

test("tokens of a prompt have their places, those behind characters of byte tokens as well", async () => {
  const tokenizer = await familyTokenizer("llama2");
  const prompt = "n🙂𐍈 new";
  const ids = tokenizer.encode(prompt, { special: false });
  const { text, offsets } = echoOf(tokenizer, ids, prompt);
  const tokens = ids.map((id) => tokenizer.idToToken(id)?.replaceAll("▁", " ") ?? "");
  expect(tokens.some((token) => token.startsWith("<0x"))).toBeTrue();
  for (const [at, token] of tokens.entries()) {
    if (!token.startsWith("<0x")) expect(text.slice(offsets[at])).toStartWith(at === 0 ? token.trimStart() : token);
  }
});
