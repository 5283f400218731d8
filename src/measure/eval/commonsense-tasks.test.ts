import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { mkdir } from "node:fs/promises";
import { judge, type Question, readQuestions, responseIn, type TaskName, TASK_NAMES } from "./commonsense-tasks.ts";

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
});
afterAll(() => folder[Symbol.asyncDispose]());

async function questionsOf(content: unknown, limit?: number): Promise<Question[]> {
  await mkdir(folder.at("boolq"), { recursive: true });
  const text = typeof content === "string" ? content : JSON.stringify(content);
  await Bun.write(folder.at("boolq", "test.json"), text);
  return await readQuestions(folder.path, "boolq", limit);
}

const ENTRY = { instruction: "Is it?", input: "", output: "the correct answer is true", answer: "true" };

describe("questions", () => {
  test("are the entries of a file, whole", async () => {
    const [first, second, third] = await questionsOf([ENTRY, { ...ENTRY, input: null, more: 1 }], 5);
    expect(first).toEqual({ task: "boolq", place: "boolq: entry 1", entry: ENTRY, ...pick(ENTRY) });
    expect(second).toMatchObject({ input: "", entry: { more: 1 } });
    expect(third).toBeUndefined();
    expect(await questionsOf([ENTRY, ENTRY], 1)).toHaveLength(1);
  });

  const pick = ({ instruction, input, answer }: typeof ENTRY) => ({ instruction, input, answer });

  test.each([
    ["no JSON", "[", "format", "boolq/test.json: not JSON"],
    ["nothing", "", "format", "boolq/test.json: not JSON"],
    ["no array", {}, "data", "boolq/test.json: not an array"],
    ["an empty array", [], "data", "boolq/test.json: no entries"],
    ["an entry that is a text", [ENTRY, "a"], "data", "entry 2: not an object"],
    ["an entry without an answer", [{ ...ENTRY, answer: undefined }], "data", 'entry 1: no "answer"'],
    ["an answer that is a number", [{ ...ENTRY, answer: 1 }], "data", 'entry 1: "answer" is no text'],
    ["an entry without an instruction", [{ answer: "true" }], "data", 'entry 1: no "instruction"'],
    ["an input that is a list", [{ ...ENTRY, input: [] }], "data", 'entry 1: "input" is no text'],
  ])("refuses %s", async (_, content, code, message) => {
    await expect(questionsOf(content)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  test("a task that is not there is a missing file", async () => {
    await expect(readQuestions(folder.path, "piqa")).rejects.toMatchObject({ code: "file" });
  });
});

describe("answers", () => {
  const question = (task: TaskName, answer: string): Question => ({
    task,
    place: "",
    entry: {},
    instruction: "",
    input: "",
    answer,
  });

  test.each([
    ["boolq", "true", "the correct answer is true", "true", true],
    ["boolq", "false", "untrue, so false", "true", false],
    ["boolq", "true", "True", "", false],
    ["piqa", "solution2", "solution2 or solution1", "solution2", true],
    ["social_i_qa", "answer3", "answer35", "answer3", true],
    ["ARC-Challenge", "answer5", "answer6 answer5", "answer5", true],
    ["hellaswag", "ending4", "ending5", "", false],
    ["winogrande", "option2", "option 2, option2", "option2", true],
    ["openbookqa", "answer1", "", "", false],
  ] as const)("%s: is %s in %p?", (task, answer, text, found, isRight) => {
    expect(judge(question(task, answer), text)).toEqual({ text, found, isRight });
  });

  test("the order is that of the papers' tables", () => {
    expect(TASK_NAMES.join(" ")).toBe("boolq piqa social_i_qa hellaswag winogrande ARC-Easy ARC-Challenge openbookqa");
  });

  test("a response is what stands behind the last mark", () => {
    expect(responseIn("### Response: a\n### Response:\n    b c \n")).toBe("b c");
    expect(responseIn("### Response:")).toBe("");
  });
});
