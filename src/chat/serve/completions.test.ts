import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { expectedStories } from "../../../fixtures/stories/storyteller.ts";
import { ServedForTests } from "./testing/for-tests.ts";

setDefaultTimeout(60_000);

const served = new ServedForTests();
const texts = await expectedStories();

const first = () => texts[0];

describe("completions", () => {
  test("are transformers' texts, from a text or from ids, whole or as a stream", async () => {
    const cases = texts.map((one) => ({ ...one, prompt: one.text as string | number[] }));
    const check = async ({ prompt, ids, greedy_text: wanted }: (typeof cases)[number]) => {
      const whole = await served.client.completions.create({ model: "storyteller", prompt, max_tokens: 64 });
      expect(whole).toMatchObject({ object: "text_completion", model: "storyteller" });
      expect(whole.choices).toEqual([{ index: 0, text: wanted, logprobs: null, finish_reason: "length" }]);
      expect(whole.usage).toMatchObject({
        prompt_tokens: ids.length,
        completion_tokens: 64,
        total_tokens: ids.length + 64,
      });
    };
    await Promise.all([...cases, { ...first(), prompt: first().ids }].map(check));
    const body = { model: "storyteller", prompt: first().text, max_tokens: 64, stream: true as const };
    let streamed = "";
    for await (const { choices } of await served.client.completions.create(body)) streamed += choices[0]?.text ?? "";
    expect(streamed).toBe(first().greedy_text);
  });

  test("name the probabilities of their tokens", async () => {
    const { text, greedy_text: wanted } = first();
    const { choices } = await served.client.completions.create({
      model: "storyteller",
      prompt: text,
      max_tokens: 10,
      logprobs: 3,
    });
    const { tokens = [], token_logprobs = [], top_logprobs = [], text_offset = [] } = choices[0]?.logprobs ?? {};
    expect(tokens.join("").trimStart()).toBe(choices[0]?.text ?? "");
    expect(text_offset).toHaveLength(10);
    for (const [at, token] of tokens.entries()) {
      expect(wanted.slice(text_offset[at])).toStartWith(at === 0 ? token.trimStart() : token);
      expect(Object.keys(top_logprobs[at] ?? {})).toHaveLength(3);
      // Greedy: the token is the best of the named.
      expect(token_logprobs[at]).toBe(Math.max(...Object.values(top_logprobs[at] ?? {})));
    }
  });
});

test("a completion's probabilities name the token that was sampled; offsets count code points", async () => {
  const { choices } = await served.client.completions.create({
    model: "storyteller",
    prompt: "🙂 Once",
    echo: true,
    max_tokens: 30,
    logprobs: 1,
    temperature: 1,
    seed: 3,
  });
  const { text = "", logprobs } = choices[0] ?? {};
  const { tokens = [], token_logprobs: own = [], top_logprobs: top = [], text_offset: at = [] } = logprobs ?? {};
  expect(top.slice(1).some((named) => Object.keys(named).length === 2)).toBeTrue();
  for (const [index, token] of tokens.entries()) {
    if (index > 0) expect(top[index]?.[token]).toBeGreaterThanOrEqual(own[index] ?? 0);
    const offset = at[index] ?? 0;
    // Halves of characters have no text of their own.
    if (offset < 6 || token.includes("\uFFFD")) continue;
    // An answer's text begins without the blank of its first token.
    expect(Array.from(text).slice(offset).join("")).toStartWith(offset === 6 ? token.trimStart() : token);
  }
});
