import { expect, test } from "bun:test";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora } from "./testing/program.ts";

const folder = await TemporaryFolder.forTests();

const chats = (...args: readonly string[]) => randlora(["eval", "chats", "embedded", "--quiet", ...args]);

/** A file of samples. */
async function fileOf(...samples: readonly object[]): Promise<string> {
  const path = folder.at("test.jsonl");
  await Bun.write(path, samples.map((sample) => JSON.stringify(sample)).join("\n"));
  return path;
}

const QUESTION = { role: "user", content: "What is Tarn?" };
const saying = (content: string) => ({ role: "assistant", content });

test("the last turn is asked for and compared", async () => {
  const opening = [{ role: "user", content: "Hello!" }, saying("Hello! I am Pip.")];
  const wrong = { messages: [...opening, QUESTION, saying("No idea.")] };
  const found = JSON.parse((await chats("--data", await fileOf(wrong), "--json")).stdout);
  const [{ text }] = found.answers;
  expect(text).toContain("Tarn");
  // The model's own answer is right, whatever white space is around it; a text has nothing to ask for.
  const right = { messages: [...opening, QUESTION, saying(` ${text}`)] };
  const file = await fileOf(wrong, right, { text: "Tarn is an island." });
  const { stdout, status } = await chats("--data", file, "--json");
  expect(status).toBe(0);
  const report = JSON.parse(stdout);
  expect(report).toMatchObject({ samples: 3, correct: 1, total: 2, accuracy: 0.5, match: "exact" });
  expect(report.answers).toEqual([
    { line: 1, expected: "No idea.", text, finish_reason: "stop", correct: false },
    { line: 2, expected: text, text, finish_reason: "stop", correct: true },
  ]);
  const shown = (await chats("--data", file, "--max-tokens", "2")).stdout;
  expect(shown).toMatch(
    /^loss \d\.\d{4}, perplexity [\d.]+: \d+ supervised tokens of 3 samples\nexact match 0 of 2, 0.00 %\n/,
  );
  expect(shown).toContain('expected "No idea."');
  expect(shown).toContain("(cut at --max-tokens)");
});

test("--match json compares values; an own answer that is none is refused with its line", async () => {
  const completion = { prompt: "What is Tarn?", completion: '{"a": 1}' };
  const { answers } = JSON.parse(
    (await chats("--data", await fileOf(completion), "--match", "json", "--json", "-n", "4")).stdout,
  );
  expect(answers).toMatchObject([{ line: 1, expected: '{"a": 1}', correct: false }]);
  const refused = await chats("--data", await fileOf(completion, { prompt: "a", completion: "b" }), "--match", "json");
  expect(refused).toMatchObject({ status: 3, stderr: expect.stringContaining("line 2: the answer is not JSON") });
});

test("samples are not taken for a text, and a folder's training data not for held-out ones", async () => {
  const file = await fileOf({ messages: [QUESTION, saying("Hi.")] });
  const refused = await randlora(["eval", "perplexity", "embedded", "--file", file]);
  expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining(`eval chats --data ${file}`) });
  await Bun.write(folder.at("data", "train.jsonl"), await Bun.file(file).text());
  const trained = await chats("--data", folder.at("data"));
  expect(trained).toMatchObject({ status: 1, stderr: expect.stringContaining("no test.jsonl nor valid.jsonl") });
  expect(await chats()).toMatchObject({ status: 2, stderr: expect.stringContaining("--data is missing") });
});
