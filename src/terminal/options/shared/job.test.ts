import { describe, expect, test } from "bun:test";
import { refusalOf } from "../../../files/testing/folder.ts";
import { isOwn, jobOf, jobOptions } from "./job.ts";

const { job, jobs } = jobOptions("Jobs");
const none = { job: undefined, jobs: undefined };
const slurm = (id: number, min: number, max: number, count = max - min + 1) => ({
  SLURM_ARRAY_TASK_ID: String(id),
  SLURM_ARRAY_TASK_MIN: String(min),
  SLURM_ARRAY_TASK_MAX: String(max),
  SLURM_ARRAY_TASK_COUNT: String(count),
});

describe("which task of an array this is", () => {
  test("--job says it, whatever the scheduler says", () => {
    expect(jobOf({ job: job.read(["3/8"]), jobs: undefined }, slurm(5, 1, 8))).toEqual({ number: 3, of: 8 });
    for (const wrong of ["0/8", "9/8", "3", "3/", "3/0", "-1/8", "1e0/8", "03/99999999", ""]) {
      expect(() => job.read([wrong])).toThrow();
    }
  });

  test("a scheduler's variables alone make no part of a command", () => {
    expect(jobOf(none, { ...slurm(5, 1, 8), JOB_COMPLETION_INDEX: "3", JOB_COMPLETIONS: "8" })).toBeUndefined();
  });

  test("--jobs asks Slurm, wherever its array begins", () => {
    for (const [min, max] of [
      [1, 8],
      [0, 7],
      [11, 18],
    ] as const) {
      for (const asked of ["8", "auto"]) {
        const found = jobOf({ job: undefined, jobs: jobs.read([asked]) }, slurm(min + 2, min, max));
        expect(found).toEqual({ number: 3, of: 8 });
      }
    }
  });

  test("and Kubernetes, which counts from 0 and says how many only where it is made to", () => {
    const index = { JOB_COMPLETION_INDEX: "7" };
    expect(jobOf({ job: undefined, jobs: 8 }, index)).toEqual({ number: 8, of: 8 });
    const told = { ...index, JOB_COMPLETIONS: "9" };
    expect(jobOf({ job: undefined, jobs: "auto" }, told)).toEqual({ number: 8, of: 9 });
  });

  test.each([
    ["no array", 8, {}, "neither SLURM_ARRAY_TASK_ID nor"],
    ["some tasks that are submitted again", 8, slurm(5, 3, 5, 2), "the array has 2 tasks, from 3 to 5"],
    ["the same with the array's own number", "auto", slurm(5, 3, 5, 2), "the array has 2 tasks, from 3 to 5"],
    ["an array of another size", 8, slurm(3, 1, 4), "the array has 4 tasks"],
    ["an index beyond the end", 8, { JOB_COMPLETION_INDEX: "8" }, "says part 9, and there are 8"],
    ["nobody says how many", "auto", { JOB_COMPLETION_INDEX: "3" }, "nothing says how many"],
    ["no number", 8, { JOB_COMPLETION_INDEX: "three" }, "JOB_COMPLETION_INDEX=three"],
  ] as const)("%s: refused", async (_, count, environment, cause) => {
    const refusal = await refusalOf(() => jobOf({ job: undefined, jobs: count }, environment));
    expect([refusal.code, refusal.message]).toEqual(["usage", expect.stringContaining(cause)]);
    expect(refusal.hint).not.toBe("");
  });

  test("both flags: refused", async () => {
    const both = { job: { number: 1, of: 2 }, jobs: 2 };
    expect((await refusalOf(() => jobOf(both, slurm(1, 1, 2)))).message).toStartWith("--job and --jobs");
  });
});

test("every item is one task's", () => {
  for (const of of [1, 2, 3, 8]) {
    const tasks = Array.from({ length: of }, (_, at) => ({ number: at + 1, of }));
    for (let item = 0; item < 20; item++) expect(tasks.filter((task) => isOwn(task, item))).toHaveLength(1);
  }
});
