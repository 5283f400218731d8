import { beforeAll, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { outcomeOf } from "../src/train/testing/runs.ts";
import { type Answer, compareFolder, NAMES, parse, SHORT, timeless } from "./testing/compare.ts";
import { randlora, startProgram } from "./testing/program.ts";

const folder = await compareFolder();
const at = folder.at.bind(folder);
const compare = (...args: readonly string[]) => randlora(["compare", ...args], { cwd: folder.path });
const start = (...args: readonly string[]) => startProgram(["compare", ...args], { cwd: folder.path });

let whole: Answer;
beforeAll(async () => {
  whole = parse((await compare(...SHORT, "--out", "whole", "--json")).stdout);
});

/** Waits until a run's metrics have so many lines. */
async function untilLines(path: string, lines: number): Promise<void> {
  for (;;) {
    const text = await readFile(path, "utf8").catch(() => "");
    if (text.split("\n").length > lines) return;
    await Bun.sleep(2);
  }
}

/** All runs' files are those of the comparison that nothing stopped. */
async function expectWhole(name: string, answer: Answer): Promise<void> {
  expect(timeless(answer)).toEqual(timeless(whole));
  for (const run of NAMES)
    expect(await outcomeOf(at(name, "runs", run))).toEqual(await outcomeOf(at("whole", "runs", run)));
}

test("killed in the middle of runs, it goes on to the same results", async () => {
  const first = start(...SHORT, "--out", "killed", "--json");
  await untilLines(at("killed", "runs", NAMES[1], "metrics.jsonl"), 4);
  first.kill("SIGKILL");
  await first.exited;
  const second = start("--resume", "killed", "--json");
  await untilLines(at("killed", "runs", NAMES[2], "metrics.jsonl"), 1);
  second.kill("SIGKILL");
  await second.exited;
  const last = await compare("--out", "killed", "--resume", "--json");
  expect(last.status).toBe(0);
  // The first run had been recorded, and is not made again.
  expect(last.stderr).not.toContain("randlora, budget 4.00 K, seed 3");
  await expectWhole("killed", parse(last.stdout));
});

test("SIGINT finishes the step and saves; what there is is shown, and it goes on from there", async () => {
  const child = start(...SHORT, "--out", "stopped", "--json");
  await untilLines(at("stopped", "runs", NAMES[1], "metrics.jsonl"), 2);
  child.kill("SIGINT");
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect([status, stderr]).toEqual([130, expect.stringContaining("stopping: finishing the step, then saving")]);
  const found = parse(stdout);
  expect(found).toMatchObject({ ending: "interrupted", winner: null, contests: [{ reason: "not all runs are done" }] });
  expect(found.results).toHaveLength(1);
  // Flags may be given again; those that say something else are refused.
  const last = await compare(...SHORT, "--out", "stopped", "--resume", "--save-every", "5", "--json");
  expect([last.status, last.stderr]).toEqual([0, expect.stringMatching(/goes on from step [1-4]/)]);
  expect(timeless(parse(last.stdout))).toEqual(timeless(whole));
});
