import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { KilledRuns } from "../testing/killed-run.ts";

let runs: KilledRuns;
beforeAll(async () => {
  runs = await KilledRuns.create();
});
afterAll(() => runs[Symbol.asyncDispose]());

test.each([
  ["a state", /^state.step-([5-9]|1\d).optimizer/],
  ["an adapter", /^adapter\.[^.]+\.part.adapter_model/],
])("a run that is killed while %s is written goes on as if nothing had happened", async (_, until) => {
  await runs.expectSameAfterKill("saved 4", until);
});

test("SIGTERM finishes the step and saves; the run then goes on from there", async () => {
  const lines = await runs.run("stopped", { signal: "SIGTERM", after: "step 3\n" });
  expect(lines.at(-1)).toBe("interrupted");
  const last = Number(lines.at(-2)?.replace("saved ", ""));
  const states = (await readdir(runs.folder.at("stopped", "state"))).map((name) => Number(name.replace("step-", "")));
  // Whether the newest is good nothing has told yet: the one before it stays.
  expect(states.toSorted((a, b) => b - a)).toEqual([last, expect.any(Number)]);
  await runs.finish("stopped");
  expect(await runs.outcome("stopped")).toEqual(runs.whole);
});
