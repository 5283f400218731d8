import { expect, test } from "bun:test";
import { readCompletionRequest } from "./completion-request.ts";
import { DEFAULTS, refusal, said } from "./testing/refusals.ts";

const complete = (extra: object) => readCompletionRequest({ prompt: "Hi", ...extra }, DEFAULTS);

test.each<[unknown, unknown]>([
  ["Hi", ["Hi"]],
  [[1, 2], [[1, 2]]],
  [
    ["Hi", "Ho"],
    ["Hi", "Ho"],
  ],
  [
    [[1, 2], [3]],
    [[1, 2], [3]],
  ],
  [[], [[]]],
])("the prompt %j", (prompt, wanted) => {
  expect(complete({ prompt }).prompts as unknown).toEqual(wanted);
});

test("none but their prompts may be asked for, and several texts of each", () => {
  expect(complete({ max_tokens: 0, echo: true, n: 3 })).toMatchObject({
    echo: true,
    settings: { maxTokens: 0, choices: 3 },
  });
  expect(complete({}).echo).toBe(false);
});

test("probabilities are counted", () => {
  expect(
    [complete({}), complete({ logprobs: 0 }), complete({ logprobs: 5 })].map((one) => one.settings.topLogprobs),
  ).toEqual([undefined, 0, 5]);
  expect(complete({ max_tokens: -1 }).settings.maxTokens).toBeUndefined();
  const [one, other] = [complete({ seed: -1 }), complete({ seed: -1 })].map(({ settings }) => settings.sampling.seed);
  expect(one).not.toBe(other ?? -1);
});

test.each<[object, string]>([
  [{ prompt: undefined }, "prompt"],
  [{ prompt: Array(65).fill("a"), n: 2 }, "prompt"],
  [{ prompt: [-1] }, "prompt"],
  [{ prompt: [1.5] }, "prompt"],
  [{ prompt: { a: 1 } }, "prompt"],
  [{ logprobs: true }, "logprobs"],
  [{ echo: 1 }, "echo"],
  [{ suffix: "x" }, "suffix"],
  [{ best_of: 3 }, "best_of"],
])("%j is refused", (extra, param) => {
  expect(refusal(() => complete(extra))).toMatchObject([400, expect.stringMatching(new RegExp(`^${param}`))]);
});

test.each([
  [{ prompt: undefined }, "prompt: is missing"],
  [{ prompt: [{}] }, "prompt: must be a string, token ids, or a list of either"],
  [{ logprobs: 50 }, "logprobs: must be at most 20, not 50"],
])("%p is told in words", (extra, message) => {
  expect(said(() => complete(extra))).toBe(message);
});
