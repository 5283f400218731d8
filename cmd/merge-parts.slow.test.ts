import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { cp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { weights } from "../src/adapters/merge/testing/models.ts";
import type { TemporaryFolder } from "../src/files/testing/folder.ts";
import { baseAndAdapter, contents, runMerge, TENSORS } from "./testing/merge.ts";
import { startProgram } from "./testing/program.ts";

/** Twelve shards, with merged, copied and tied tensors among them; some are large enough to be killed in. */
const MODEL = {
  tensors: {
    ...TENSORS,
    ...Object.fromEntries(
      Array.from({ length: 8 }, (_, at) => [`model.other${at}.weight`, weights("BF16", [300, 500], 10 + at)]),
    ),
  },
};
const SHARDED = ["base", "adapter", "--max-shard-size", "1KB"];
const PARTS = 4;
const env = { RANDLORA_DEVICE: "cpu" };

async function part(folder: TemporaryFolder, number: number, ...args: readonly string[]) {
  return await runMerge([...SHARDED, "--out", "parts", "--part", `${number}/${PARTS}`, ...args], {
    cwd: folder.path,
    env,
  });
}

/** What one process writes with the same sharding, and a folder to write it in parts. */
async function merged(): Promise<{ folder: TemporaryFolder; whole: Record<string, string> }> {
  const folder = await baseAndAdapter(MODEL);
  const run = await runMerge([...SHARDED, "--out", "whole", "--json"], { cwd: folder.path, env });
  expect([run.status, run.stderr]).toEqual([0, ""]);
  return { folder, whole: await contents(folder.at("whole")) };
}

test("four tasks, two of which are killed and started again, write what one process writes", async () => {
  const { folder, whole } = await merged();
  await using _ = folder;
  expect(Object.keys(whole).filter((name) => name.endsWith(".safetensors"))).toHaveLength(12);
  const order = [2, 4, 1, 3];
  const killed = [2, 3];
  const start = (number: number) =>
    startProgram(["merge", ...SHARDED, "--out", "parts", "--part", `${number}/${PARTS}`, "-q"], {
      cwd: folder.path,
      env,
    });
  const tasks = order.map((number) => ({ number, child: start(number) }));
  for (const { number, child } of tasks.filter((task) => killed.includes(task.number))) {
    await Bun.sleep(number * 30);
    child.kill("SIGKILL");
  }
  const ended = await Promise.all(
    tasks.map(async ({ number, child }) => [number, await child.exited, child.signalCode] as const),
  );
  for (const [number, status, signal] of ended) {
    if (!killed.includes(number)) expect([number, status]).toEqual([number, 0]);
    else if (signal === null) expect(status).toBe(0);
  }
  for (const number of killed) expect((await part(folder, number)).status).toBe(0);
  expect(await contents(folder.at("parts"))).toEqual(whole);
  expect(await readdir(folder.at("parts.parts"))).toEqual(["plan.json"]);
  // A scheduler may start a task once more, when all is done.
  expect(await part(folder, 1)).toMatchObject({ status: 0, stdout: expect.stringContaining("parts is complete") });
  expect(await contents(folder.at("parts"))).toEqual(whole);
});

test("nothing is under the output's name before the last part; --finish says what is missing, and puts it together", async () => {
  const { folder, whole } = await merged();
  await using _ = folder;
  const third = async (number: number) => {
    const args = [...SHARDED, "--out", "parts", "--part", `${number}/3`, "--json"];
    const { status, stdout } = await runMerge(args, { cwd: folder.path, env });
    expect(status).toBe(0);
    return JSON.parse(stdout);
  };
  const finish = async () => await runMerge(["--finish", "--out", "parts"], { cwd: folder.path });
  for (const number of [3, 1]) {
    expect(await third(number)).toMatchObject({ part: `${number}/3`, shards_written: 4, max_abs_delta: null });
    expect(existsSync(folder.at("parts"))).toBe(false);
  }
  const early = await finish();
  expect([early.status, early.stderr]).toEqual([1, expect.stringContaining("4 of 12 shards are missing")]);
  await cp(folder.at("parts.parts"), folder.at("kept"), { recursive: true });
  // The last part's figures are of the whole merge.
  const json = JSON.parse((await runMerge([...SHARDED, "--out", "again", "--json"], { cwd: folder.path, env })).stdout);
  const { tensors, bytes, max_abs_delta, frobenius_delta, changed_share } = json;
  const figures = { tensors, merged: json.merged, bytes, max_abs_delta, frobenius_delta, changed_share };
  expect(await third(2)).toMatchObject({ shards_left: 0, ...figures });
  expect(await contents(folder.at("parts"))).toEqual(whole);
  // As if it had been killed before it put the output together.
  await rename(folder.at("parts"), folder.at("finished"));
  await rm(folder.at("parts.parts"), { recursive: true });
  await rename(folder.at("kept"), folder.at("parts.parts"));
  for (const name of await readdir(folder.at("finished"))) {
    if (!name.endsWith(".safetensors") || existsSync(folder.at("parts.parts", name))) continue;
    await rename(folder.at("finished", name), folder.at("parts.parts", name));
    await writeFile(folder.at("parts.parts", `${name}.json`), '{"reports":[]}');
  }
  await rename(folder.at("parts.parts/files"), folder.at("lost"));
  const lost = await finish();
  expect([lost.status, lost.stderr]).toEqual([1, expect.stringContaining("parts.parts/files: no such file or folder")]);
  await rename(folder.at("lost"), folder.at("parts.parts/files"));
  expect((await finish()).status).toBe(0);
  expect(await contents(folder.at("parts"))).toEqual(whole);
  expect((await finish()).status).toBe(0);
});

test("a task with other options is refused after the output was finished, too", async () => {
  await using folder = await baseAndAdapter(MODEL);
  for (const index of [1, 2]) expect((await part(folder, index)).status).toBe(0);
  const before = await contents(folder.path);
  const other = await part(folder, 2, "--scale", "2");
  expect([other.status, other.stderr]).toEqual([2, expect.stringContaining("parts of another merge")]);
  expect(await contents(folder.path)).toEqual(before);
  expect((await part(folder, 2)).status).toBe(0);
});

test("parts of another merge are not mixed in, an output that is there is not replaced, a file has no parts", async () => {
  await using folder = await baseAndAdapter(MODEL);
  expect((await part(folder, 1)).status).toBe(0);
  const before = await contents(folder.path);
  const other = await part(folder, 2, "--scale", "2");
  expect([other.status, other.stderr]).toEqual([2, expect.stringContaining("parts of another merge")]);
  const nobody = await runMerge(["--finish", "--out", "nothing"], { cwd: folder.path });
  expect([nobody.status, nobody.stderr]).toEqual([1, expect.stringContaining("no part was written")]);
  const file = await runMerge(["base/model.safetensors", "adapter", "--part", "1/2"], { cwd: folder.path });
  expect([file.status, file.stderr]).toEqual([2, expect.stringContaining("the output is one file")]);
  const none = await runMerge(["--part", "1/2"], { cwd: folder.path });
  expect([none.status, none.stderr]).toEqual([2, expect.stringContaining("missing required argument 'BASE'")]);
  expect(await contents(folder.path)).toEqual(before);
  const there = await runMerge([...SHARDED, "--out", "base", "--part", "1/2"], { cwd: folder.path, env });
  expect([there.status, there.stderr]).toEqual([1, expect.stringContaining("base")]);
  expect(await contents(folder.path)).toEqual(before);
});

test("a scheduler's variables say which part it is, where --jobs asks for them", async () => {
  const { folder, whole } = await merged();
  await using _ = folder;
  for (let id = 0; id < 3; id++) {
    const variables = { SLURM_ARRAY_TASK_ID: `${id}`, SLURM_ARRAY_TASK_MIN: "0", SLURM_ARRAY_TASK_COUNT: "3" };
    const args = [...SHARDED, "--out", "slurm", "--jobs", "auto", "--json", "--verify"];
    const { stdout } = await runMerge(args, { cwd: folder.path, env: { ...env, ...variables } });
    expect(JSON.parse(stdout)).toMatchObject({ part: `${id + 1}/3` });
  }
  expect(await contents(folder.at("slurm"))).toEqual(whole);
});
