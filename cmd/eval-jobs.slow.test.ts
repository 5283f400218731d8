import { beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { writeAdapter } from "../src/adapters/merge/testing/models.ts";
import { writeTexts } from "../src/train/testing/runs.ts";
import { readdir } from "node:fs/promises";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora, startProgram } from "./testing/program.ts";

const SHAPES = join(import.meta.dir, "../fixtures/shapes");

const folder = await TemporaryFolder.forTests();
beforeAll(async () => {
  for (const [name, count] of [
    ["text", 16],
    ["other", 15],
  ] as const) {
    const samples = await Bun.file(await writeTexts(folder.at("samples"), count)).text();
    await Bun.write(folder.at(name), samples.replaceAll(/\{"text":"|"\}/g, ""));
  }
  const boolq = Array.from({ length: 5 }, (_, at) => {
    const answer = at % 2 === 0 ? "true" : "false";
    return {
      instruction: `Is the ball number ${at} red?`,
      input: "",
      output: `the correct answer is ${answer}`,
      answer,
    };
  });
  await Bun.write(folder.at("data", "boolq", "test.json"), JSON.stringify(boolq));
  for (const name of ["circle", "cross", "dots"]) {
    for (const copy of [1, 2]) {
      await Bun.write(
        folder.at("images", "test", name, `${copy}.png`),
        Bun.file(join(SHAPES, "images", `${name}.png`)),
      );
    }
  }
  const modules = { "model.layers.0.mlp.up_proj": [172, 64] } as const;
  await writeAdapter(folder.at("adapter"), { r: 4, alpha: 64, seed: 1, size: 0.1, modules });
});

const start = (...args: readonly string[]) =>
  startProgram(["eval", ...args], { cwd: folder.path, env: { RANDLORA_DEVICE: "cpu", RANDLORA_THREADS: "1" } });
const run = (...args: readonly string[]) => randlora(["eval", ...args], { cwd: folder.path });

/** But for what the clock says. */
function timeless(stdout: string): unknown {
  const { seconds: _seconds, tokens_per_s: _tokens, images_per_s: _images, ...rest } = JSON.parse(stdout);
  return rest;
}

test.each([
  ["perplexity", [STORIES, "--file", "text", "--context", "64", "--adapter", "adapter", "--merged"]],
  ["commonsense", [STORIES, "--data", "data", "--max-tokens", "6", "--beams", "2"]],
  ["images", [join(SHAPES, "model"), "--data", "images", "--batch-size", "2"]],
])(
  "eval %s in jobs, one of which is killed and one started twice, prints what one process prints",
  async (name, args) => {
    const whole = await run(name, ...args, "--json");
    expect([whole.status, whole.stderr.includes("error")]).toEqual([0, false]);
    const shared = [name, ...args, "--json", "--parts", `parts-${name}`];
    const killed = start(...shared, "--job", "2/3");
    // It has said what it measures, and opens the model then.
    const parts = folder.at(`parts-${name}`);
    const hasPlan = () => existsSync(join(parts, "plan")) && !readdirSync(parts).some((file) => file.endsWith(".part"));
    while (!hasPlan() && killed.exitCode === null) await Bun.sleep(1);
    killed.kill("SIGKILL");
    await killed.exited;
    expect([name, killed.signalCode]).toEqual([name, "SIGKILL"]);
    const [third, again] = await Promise.all([run(...shared, "--job", "3/3"), run(...shared, "--job", "3/3")]);
    const waiting = { parts: `parts-${name}`, job: "3/3", jobs_left: 2 };
    expect([third, again].map(({ stdout }) => JSON.parse(stdout))).toEqual([waiting, waiting]);
    expect((await run(...shared, "--job", "1/3")).status).toBe(0);
    expect(timeless((await run(...shared, "--job", "2/3")).stdout)).toEqual(timeless(whole.stdout));
    // Whoever comes later is told the same.
    expect(timeless((await run(...shared, "--job", "1/3")).stdout)).toEqual(timeless(whole.stdout));
    expect((await readdir(parts)).filter((file) => file.endsWith(".part"))).toEqual([]);
  },
);

test("jobs with more parts than windows, and what cannot be", async () => {
  const args = ["perplexity", STORIES, "--file", "text", "--json"];
  const whole = await run(...args);
  const many = ["--parts", "many", "--job"];
  for (const job of ["1/3", "2/3"]) expect((await run(...args, ...many, job)).status).toBe(0);
  expect(timeless((await run(...args, ...many, "3/3")).stdout)).toEqual(timeless(whole.stdout));
  // What a disk has lost is no internal error.
  await Bun.write(folder.at("many", "0-of-job-2"), "xyz");
  const damaged = await run(...args, ...many, "3/3");
  expect([damaged.status, damaged.stderr]).toEqual([3, expect.stringContaining("0-of-job-2: damaged")]);
  for (const [wrong, message] of [
    [[...args, "--job", "1/3"], "--parts is missing"],
    [[...args, "--parts", "many"], "--parts: of which job?"],
    [[...args, ...many, "1/4"], "tasks with other options or data, or another number of them"],
    [["perplexity", STORIES, "--file", "other", "--json", ...many, "1/3"], "tasks with other options or data"],
    [["perplexity", STORIES, "--file", "-", ...many, "1/3"], "what comes from stdin"],
    [["commonsense", STORIES, "--data", "data", "--out", "x.json", ...many, "1/3"], "--parts and --out"],
  ] as const) {
    const { status, stderr } = await run(...wrong);
    expect([status, stderr]).toEqual([2, expect.stringContaining(message)]);
  }
});
