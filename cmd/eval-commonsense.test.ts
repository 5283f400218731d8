import { beforeAll, expect, test } from "bun:test";
import * as v from "valibot";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { parseLossless } from "../src/files/lossless-json.ts";
import { pythonJson } from "../src/files/python-json.ts";
import { writeAdapter } from "../src/adapters/merge/testing/models.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora } from "./testing/program.ts";

const folder = await TemporaryFolder.forTests();
beforeAll(async () => {
  const boolq = ["Was the cat happy?", "Was Lily sad?", "Is a ball red?"].map((instruction, at) => {
    const answer = at === 1 ? "false" : "true";
    return { instruction, input: "", output: `the correct answer is ${answer}`, answer };
  });
  const piqa = [{ instruction: `Once ${"upon a time ".repeat(200)}`, input: "", output: "", answer: "solution1" }];
  await Bun.write(folder.at("data", "boolq", "test.json"), JSON.stringify(boolq));
  await Bun.write(folder.at("data", "piqa", "test.json"), JSON.stringify(piqa));
  await Bun.write(folder.at("wrong", "boolq", "test.json"), JSON.stringify([boolq[0], { instruction: "Is it?" }]));
  await Bun.write(folder.at("empty", "boolq", "test.json"), "[]");
  const modules = { "model.layers.0.mlp.up_proj": [172, 64] } as const;
  await writeAdapter(folder.at("adapter"), { r: 4, alpha: 64, seed: 1, size: 0.1, modules });
});

async function commonsense(...args: readonly string[]) {
  return await randlora(["eval", "commonsense", ...args], { cwd: folder.path });
}

const Score = v.strictObject({ correct: v.number(), total: v.number(), accuracy: v.number() });
const Report = v.strictObject({
  tasks: v.record(v.string(), Score),
  mean: v.number(),
  seconds: v.number(),
  tokens_per_s: v.number(),
});
const Entries = v.array(
  v.looseObject({ answer: v.string(), output_pred: v.string(), pred: v.string(), flag: v.boolean() }),
);

const file = (name: string) => Bun.file(folder.at(name));

test("tasks are answered into a file, which is gone on with to the same bytes; a question that is too long is named, and wrong", async () => {
  const args = [STORIES, "--adapter", "adapter", "--data", "data", "--max-tokens", "8", "--beams", "2"];
  const { status, stdout, stderr } = await commonsense(...args, "--out", "all.json", "--json");
  expect(status).toBe(0);
  const { tasks, mean } = v.parse(Report, JSON.parse(stdout));
  const entries = v.parse(Entries, await file("all.json").json());
  expect(entries).toHaveLength(4);
  expect(tasks["boolq"]).toMatchObject({ total: 3, correct: entries.slice(0, 3).filter(({ flag }) => flag).length });
  expect(tasks["piqa"]).toEqual({ correct: 0, total: 1, accuracy: 0 });
  expect(mean).toBeCloseTo((tasks["boolq"]?.accuracy ?? NaN) / 2, 12);
  expect(entries[0]?.output_pred).not.toBe("");
  expect(entries[3]).toMatchObject({ output_pred: "", pred: "", flag: false });
  expect(stderr).toMatch(/warning: piqa: entry 1: its prompt of \d+ tokens fills the model's context/);
  expect(stderr).toContain("lacks social_i_qa, hellaswag");

  const text = await file("all.json").text();
  const [first = null] = [parseLossless(text)].flat();
  await Bun.write(file("part.json"), pythonJson([first], 4));
  const resumed = await commonsense(...args, "--out", "part.json", "--resume");
  expect(resumed.status).toBe(0);
  expect(resumed.stderr).toContain("1 of 4 answers are in part.json already");
  expect(resumed.stdout).toMatch(/^task +right +of +accuracy\nboolq +\d +3 +\d/);
  expect(await file("part.json").text()).toBe(text);

  const without = await commonsense(STORIES, ...args.slice(3), "--tasks", "boolq", "--limit", "2", "--json");
  expect(without.status).toBe(0);
  expect(v.parse(Report, JSON.parse(without.stdout)).tasks["boolq"]?.total).toBe(2);
  const again = await commonsense(...args, "--out", "all.json");
  expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining("all.json: it exists already") });
});

test.each([
  ["no data", [STORIES], 2, "--data is missing"],
  [
    "an unknown task",
    [STORIES, "--data=data", "--tasks=boolq,pica"],
    2,
    "--tasks pica: no such task\nhint: did you mean piqa?",
  ],
  ["a task that is not there", [STORIES, "--data=data", "--tasks=winogrande"], 1, "winogrande/test.json: no such file"],
  ["a folder without tasks", [STORIES, "--data=adapter"], 1, "adapter: no task's test.json is in it"],
  ["a question without an answer", [STORIES, "--data=wrong"], 3, 'boolq/test.json: entry 2: no "answer"'],
  ["an empty file", [STORIES, "--data=empty"], 3, "boolq/test.json: no entries"],
  ["resuming nothing", [STORIES, "--data=data", "--resume"], 2, "--resume needs --out FILE"],
] as const)("refuses %s", async (_, args, status, message) => {
  const found = await commonsense(...args);
  expect(found).toMatchObject({ status, stdout: "" });
  expect(found.stderr).toContain(message);
});
