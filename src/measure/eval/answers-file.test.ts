import { afterAll, beforeAll, expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { mkdir } from "node:fs/promises";
import { parseLossless } from "../../files/lossless-json.ts";
import { judge, type Question, AnswersFile } from "./commonsense-tasks.ts";

const QUESTIONS: readonly Question[] = ["true", "false", "true"].map((answer, at) => {
  const instruction = `Is it ${at}? ä`;
  const entry = { instruction, input: "", output: `the correct answer is ${answer}`, answer };
  return { task: "boolq", place: `boolq: entry ${at + 1}`, entry, instruction, input: "", answer };
});
const TEXTS = ["it is true", "it is true", "è"];
const ANSWERS = QUESTIONS.map((question, at) => judge(question, TEXTS[at] ?? ""));
const RESUME = { resume: true, force: false };
const NEW = { resume: false, force: false };

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
});
afterAll(() => folder[Symbol.asyncDispose]());

async function add(file: AnswersFile, ...numbers: readonly number[]): Promise<void> {
  for (const at of numbers) {
    const answer = ANSWERS[at];
    if (answer !== undefined) await file.add(at, answer);
  }
}

const entriesOf = async (path: string) => parseLossless(await Bun.file(path).text());
const answered = QUESTIONS.map(({ entry }, at) => ({
  ...entry,
  output_pred: TEXTS[at] ?? "",
  pred: at === 2 ? "" : "true",
  flag: at === 0,
}));

test("holds the answers as far as they follow each other, whatever order they come in", async () => {
  const path = folder.at("order.json");
  const file = await AnswersFile.open(path, QUESTIONS, NEW);
  // Nothing is there before anything is answered.
  expect(await Bun.file(path).exists()).toBe(false);
  await add(file, 1);
  await file.save();
  expect(await Bun.file(path).text()).toBe("[]");
  await add(file, 0);
  await file.save();
  expect(await entriesOf(path)).toEqual(answered.slice(0, 2));
  await add(file, 2);
  await file.save();
  expect(await entriesOf(path)).toEqual(answered);
  const text = await Bun.file(path).text();
  expect(text).toStartWith('[\n    {\n        "instruction": "Is it 0? \\u00e4",\n        "input": "",\n');
  expect(text).toEndWith('        "output_pred": "\\u00e8",\n        "pred": "",\n        "flag": false\n    }\n]');
});

test("goes on where it was left, to the same bytes", async () => {
  const [whole, parted] = [folder.at("whole.json"), folder.at("parted.json")];
  const one = await AnswersFile.open(whole, QUESTIONS, NEW);
  await add(one, 0, 1, 2);
  await one.save();
  const begun = await AnswersFile.open(parted, QUESTIONS, NEW);
  await add(begun, 0, 2);
  await begun.save();
  await begun[Symbol.asyncDispose]();
  const resumed = await AnswersFile.open(parted, QUESTIONS, RESUME);
  expect(resumed.answers).toEqual(ANSWERS.slice(0, 1));
  await add(resumed, 2, 1);
  await resumed.save();
  expect(await Bun.file(parted).text()).toBe(await Bun.file(whole).text());
  expect((await AnswersFile.open(folder.at("none.json"), QUESTIONS, RESUME)).answers).toEqual([]);
});

test("replaces nothing unasked, and goes on with nothing else's answers", async () => {
  const path = folder.at("other.json");
  const [first, second] = answered;
  const refusal = async (content: unknown, message: string) => {
    await Bun.write(path, typeof content === "string" ? content : JSON.stringify(content));
    await expect(AnswersFile.open(path, QUESTIONS, RESUME)).rejects.toMatchObject({
      message: expect.stringContaining(message),
    });
  };
  await refusal([first, first], "entry 2 is no answer to boolq: entry 2");
  await refusal([{ ...first, pred: "false" }], "entry 1 is no answer");
  await refusal([{ ...first, flag: false }], "entry 1 is no answer");
  await refusal([{ ...first, output_pred: 1 }], "entry 1 is no answer");
  await refusal([...answered, first], "4 answers, but there are 3 questions");
  await refusal("{}", "not an array");
  await refusal("[", "not JSON");
  await expect(AnswersFile.open(path, QUESTIONS, NEW)).rejects.toMatchObject({ code: "file" });
  expect(await Bun.file(path).text()).toBe("[");
  const other = await AnswersFile.open(path, QUESTIONS, { resume: false, force: true });
  await add(other, 0, 1, 2);
  expect(await Bun.file(path).text()).toBe("[");
  await other.finish();
  await other[Symbol.asyncDispose]();
  expect(await entriesOf(path)).toEqual(answered);
  await refusal([second], "entry 1 is no answer");
  await mkdir(folder.at("folder.json"));
  await expect(AnswersFile.open(folder.at("folder.json"), QUESTIONS, RESUME)).rejects.toMatchObject({
    code: "file",
  });
});
