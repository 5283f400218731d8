import { afterAll, beforeAll, expect, test } from "bun:test";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { generateBatch } from "../../chat/generation/batch.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { evaluationPrompt } from "../../data/text/commonsense-prompt.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { askQuestions, scoresOf, visibleTo } from "./commonsense.ts";
import { type Answer, judge, type Question, type TaskName } from "./commonsense-tasks.ts";

let gpu: Device;
let decoder: Decoder;
const tokenizer = await loadTokenizer(STORIES);
beforeAll(async () => {
  gpu = await openTestDevice();
  decoder = await loadDecoder(gpu, STORIES);
}, 120_000);
afterAll(() => {
  decoder.release();
  gpu.close();
});

function question(task: TaskName, instruction: string, answer = "true"): Question {
  return { task, place: `${task}: ${instruction.slice(0, 10)}`, entry: {}, instruction, input: "", answer };
}

const QUESTIONS = [
  question("boolq", "Was the cat happy?"),
  question("boolq", "Was Lily sad, or was she happy with the big red ball that she had found?"),
  question("piqa", "Who?", "solution1"),
  question("boolq", `Once upon a time there was ${"a cat and ".repeat(200)}`),
];
const OPTIONS = { beams: 2, maxTokens: 6 };

test("every question is answered as by itself, from the first that is asked for on; what is too long is wrong", async () => {
  const answers = new Map<number, Answer>();
  const long: [string, number][] = [];
  const stopTokens = new Set([2]);
  const written = await askQuestions({ decoder, tokenizer, stopTokens }, QUESTIONS, [1, 2, 3], {
    ...OPTIONS,
    batchSize: 2,
    onAnswer: async (index, answer) => void answers.set(index, answer),
    onTooLong: ({ place }, tokens) => long.push([place, tokens]),
  });
  expect([...answers.keys()].toSorted()).toEqual([1, 2, 3]);
  let count = 0;
  for (const index of [1, 2]) {
    const asked = QUESTIONS[index] ?? question("boolq", "");
    const ids = tokenizer.encode(evaluationPrompt(asked));
    let alone: readonly number[] = [];
    await generateBatch(decoder, [ids], { ...OPTIONS, stopTokens }, ({ tokens }) => void (alone = tokens));
    count += alone.length;
    const text =
      tokenizer
        .decode([...ids, ...alone], { skipSpecial: true })
        .split("### Response:")
        .at(-1) ?? "";
    expect(answers.get(index)).toEqual(judge(asked, text.trim()));
    expect(answers.get(index)?.text).not.toBe("");
  }
  expect(written).toBe(count);
  expect(long).toEqual([[QUESTIONS[3]?.place ?? "", expect.any(Number)]]);
  expect(long[0]?.[1]).toBeGreaterThan(512);
  expect(answers.get(3)).toEqual({ text: "", found: "", isRight: false });
}, 60_000);

test("the protocol's mask hides token 0 wherever it stands, unless that ends texts; nothing follows a hidden token", () => {
  const place = "boolq: entry 7";
  expect(visibleTo([0, 5, 0, 0, 3], new Set([2]), { place })).toEqual([5, 3]);
  expect(visibleTo([0, 5, 0], new Set([2, 0]), { place })).toEqual([0, 5, 0]);
  expect(() => visibleTo([5, 0], new Set([2]), { place })).toThrow("boolq: entry 7: its prompt ends with token 0");
});

test("the mean is over tasks", () => {
  const answers = QUESTIONS.map((_, at) => ({ text: "", found: "", isRight: at < 3 }));
  const { tasks, mean } = scoresOf(QUESTIONS, answers);
  expect([...tasks]).toEqual([
    ["boolq", { correct: 2, total: 3, accuracy: 2 / 3 }],
    ["piqa", { correct: 1, total: 1, accuracy: 1 }],
  ]);
  expect(mean).toBeCloseTo((2 / 3 + 1) / 2, 12);
});
