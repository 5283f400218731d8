import { expect, test } from "bun:test";
import { ollamaTextShape } from "./ollama.ts";

test("Ollama's durations are nanoseconds", () => {
  const usage = {
    prompt_tokens: 3,
    completion_tokens: 2,
    total_tokens: 5,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0 },
  };
  const timings = { llama: undefined, prefillSeconds: 0.5, decodeSeconds: 1.25 };
  const [last] = ollamaTextShape({ model: "m" }).finish([], usage, timings);
  expect(last).toMatchObject({
    done: true,
    prompt_eval_count: 3,
    prompt_eval_duration: 500_000_000,
    eval_count: 2,
    eval_duration: 1_250_000_000,
  });
});
