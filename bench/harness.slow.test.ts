import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import type { Case, Suite } from "./suite.ts";
import { machine, renderMachine, renderResults, type Result, runSuite } from "./harness.ts";

// Processes that open a GPU take their time on a busy machine.
setDefaultTimeout(60_000);

function suiteOf(...cases: readonly Case[]): Suite {
  return {
    name: "sample",
    title: "a sample",
    unit: "units/s",
    async *cases() {
      yield* cases;
    },
  };
}

test("cases are warmed up, timed and turned into rates; a filter leaves the others alone", async () => {
  let runs = 0;
  const wanted: Case = { name: "Sleeper 5 ms", amount: 10, run: () => Bun.sleep(5).then(() => void runs++) };
  const other: Case = { name: "other", amount: 1, run: () => Promise.reject(new Error("not asked for")) };
  const notes: string[] = [];
  const results = await runSuite(suiteOf(wanted, other), ["sleep", "5"], (line) => notes.push(line));
  expect(notes).toEqual(["sample: Sleeper 5 ms"]);
  expect(results).toHaveLength(1);
  const [{ rate, bestRate, medianSeconds, minSeconds, perCore, runs: timed } = { ...NOTHING, runs: 0 }] = results;
  expect(timed).toBeGreaterThanOrEqual(3);
  expect(runs).toBeGreaterThan(timed); // the warm-up does not count
  expect(minSeconds).toBeGreaterThanOrEqual(0.004);
  expect(rate).toBeCloseTo(10 / medianSeconds, 6);
  expect(bestRate).toBeCloseTo(10 / minSeconds, 6);
  expect(perCore).toBeGreaterThan(rate); // it sleeps most of the time
});

test("a case that fails is no measurement", async () => {
  const broken: Case = { name: "broken", amount: 1, run: () => Promise.reject(new Error("wrong result")) };
  await expect(runSuite(suiteOf(broken), [], () => {})).rejects.toThrow("wrong result");
});

const NOTHING: Result = {
  name: "x",
  amount: 1,
  rate: 50,
  bestRate: 70,
  medianSeconds: 1,
  minSeconds: 1,
  spreadSeconds: 0.1,
  runs: 3,
  cores: 2,
  perCore: 25,
};

test.each([
  [40, "≥ 40: met"],
  [60, "≥ 60: met at best"],
  [80, "≥ 80: missed"],
])("a target of %d against a median of 50 and a best of 70: %s", (target, verdict) => {
  expect(renderResults(suiteOf(), [{ ...NOTHING, target }])).toContain(verdict);
});

test("a busy machine is called so", async () => {
  const idle = { ...(await machine()), cores: 2, load: 0.3 };
  expect(renderMachine(idle).trimEnd().split("\n")).toHaveLength(2);
  expect(renderMachine({ ...idle, load: 3 })).toContain("others use this machine");
});

test("bun run bench runs the suite and the cases that are named, and refuses what matches none", async () => {
  const bench = async (...words: string[]) => {
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), ...words], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { status, stderr, lines: stdout.trimEnd().split("\n") };
  };
  const one = await bench("draws", "bare");
  expect([one.status, one.stderr]).toEqual([0, ""]);
  expect(one.lines.at(-1)).toMatch(/^MT19937, bare words +[\d,.]+/);
  const none = await bench("nonsense");
  expect(none.status).toBe(2);
  expect(none.stderr).toMatch(/^no case matches; there are the suites peak, memory, draws, delta, .*loads\n$/);
});
