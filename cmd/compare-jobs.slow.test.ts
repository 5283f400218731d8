import { expect, test } from "bun:test";
import { readdir, readFile, rm } from "node:fs/promises";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { outcomeOf } from "../src/train/testing/runs.ts";
import { compareFolder } from "./testing/compare.ts";
import { randlora, startProgram } from "./testing/program.ts";

const folder = await compareFolder();
const at = folder.at.bind(folder);

const PLAN = [STORIES, "--data", "train.jsonl", "--valid", "valid.jsonl", "--targets", "q_proj", "--params", "4K"];
const RUNS = ["--methods", "randlora,lora", "--seeds", "2", "--steps", "4", "--save-every", "1", "--batch-size", "2"];
const SAME = [...PLAN, ...RUNS, "--eval-every", "2", "--threads", "1"];

const start = (...args: readonly string[]) =>
  startProgram(["compare", ...args], { cwd: folder.path, env: { RANDLORA_DEVICE: "cpu" } });
const run = (...args: readonly string[]) => randlora(["compare", ...args], { cwd: folder.path });

/** A comparison's folder but for what depends on the clock. */
async function recorded(name: string) {
  const text = await readFile(at(name, "compare.json"), "utf8");
  const { results, ...rest } = JSON.parse(text);
  const timeless = results.map((result: object) => ({ ...result, seconds: 0 }));
  const names = (await readdir(at(name, "runs"))).toSorted();
  const runs = await Promise.all(names.map((one) => outcomeOf(at(name, "runs", one))));
  return { ...rest, results: timeless, names, runs, files: (await readdir(at(name))).toSorted() };
}

test("four tasks, two of which are killed and started again, make the comparison of one process", async () => {
  expect((await run(...SAME, "--out", "whole", "-q")).status).toBe(0);
  const killed = [2, 3];
  const tasks = [4, 2, 3, 1].map((number) => {
    return { number, child: start(...SAME, "--out", "jobs", "--job", `${number}/4`, "-q") };
  });
  for (const { number, child } of tasks.filter((task) => killed.includes(task.number))) {
    // One in the middle of its run, the other at whatever it does.
    const begun = async () => (await readdir(at("jobs", "runs")).catch((): string[] => [])).length > 1;
    if (number === 2) while (child.exitCode === null && !(await begun())) await Bun.sleep(5);
    child.kill("SIGKILL");
  }
  for (const { number, child } of tasks) {
    const [stderr, status] = [await child.stderr.text(), await child.exited];
    if (!killed.includes(number)) expect([number, status, stderr]).toEqual([number, 0, ""]);
  }
  for (const number of killed) {
    const again = await run(...SAME, "--out", "jobs", "--job", `${number}/4`, "--json");
    expect([again.status, again.stderr.includes("error")]).toEqual([0, false]);
    // Whoever is last shows the whole.
    if (number === killed.at(-1)) expect(JSON.parse(again.stdout)).toMatchObject({ ending: "finished", seeds: 2 });
  }
  expect(await recorded("jobs")).toEqual(await recorded("whole"));
  // Once more, when all is done.
  expect((await run(...SAME, "--out", "jobs", "--job", "1/4", "-q")).status).toBe(0);
  expect(await recorded("jobs")).toEqual(await recorded("whole"));
}, 180_000);

test("--resume makes what jobs have left; jobs with other options, and folders of others, are refused", async () => {
  const few = [...PLAN, "--methods", "lora", "--seeds", "3", "--steps", "2", "--threads", "1"];
  const env = { JOB_COMPLETION_INDEX: "1" };
  const first = await randlora(["compare", ...few, "--out", "some", "--jobs", "3", "--json"], {
    cwd: folder.path,
    env,
  });
  expect(JSON.parse(first.stdout)).toEqual({ out: at("some"), job: "2/3", runs: 3, runs_left: 2 });
  expect(await readdir(at("some", "runs"))).toHaveLength(1);
  const other = await run(...few, "--learning-rate", "1e-5", "--out", "some", "--job", "1/3");
  expect([other.status, other.stderr]).toEqual([2, expect.stringContaining("there is another comparison")]);
  await Bun.write(at("filled", "mine.txt"), "mine");
  const filled = await run(...few, "--out", "filled", "--job", "1/3");
  expect([filled.status, filled.stderr]).toEqual([1, expect.stringContaining("filled: the folder is not empty")]);
  const nothing = await run("--resume", "filled", "--job", "1/3");
  expect([nothing.status, nothing.stderr]).toEqual([1, expect.stringContaining("not a comparison")]);
  expect((await run("--resume", "some", "--job", "1/3", "-q")).status).toBe(0);
  expect(await readdir(at("some", "results"))).toHaveLength(2);
  expect((await run("--resume", "some", "-q")).status).toBe(0);
  expect((await run(...few, "--out", "one", "-q")).status).toBe(0);
  expect(await recorded("some")).toEqual(await recorded("one"));
  await rm(at("some", "runs", "lora-seed-1"), { recursive: true });
  expect((await run("--resume", "some", "--job", "2/3", "-q")).status).toBe(0);
  expect(await recorded("some")).toEqual(await recorded("one"));
}, 180_000);
