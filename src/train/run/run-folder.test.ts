import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { appendFile, mkdir, open, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ownerName, self } from "../../files/owner.ts";
import { holdElsewhere } from "../../files/testing/lock.ts";
import { MetricsFile } from "./metrics.ts";
import { resolveSettings } from "../settings/resolve-settings.ts";
import { newestRun, refreshFolder, RunFolder } from "./run-folder.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

let folder: TemporaryFolder;
const before = process.cwd();
beforeEach(async () => {
  folder = await TemporaryFolder.create();
  process.chdir(folder.path);
});
afterEach(async () => {
  process.chdir(before);
  await folder[Symbol.asyncDispose]();
});

const SETTINGS = resolveSettings({ model: "org/name@rev", data: "d" }, { modelType: "llama", contextLength: 99 });

/** A state as far as its folder is looked at. */
async function writeState(run: RunFolder, step: number): Promise<void> {
  const state = join(run.states, `step-${step}`);
  await mkdir(state, { recursive: true });
  const progress = { version: 1, step, tokens: 0, loss: null, validLoss: null, evaluated: null, best: null };
  const kernels = { checkpointing: false, staging: "workgroup", choices: {} };
  const rest = { evaluationsSinceBest: 0, kernels, gpu: { name: "", driver: "" }, data: "" };
  await writeFile(join(state, "state.json"), JSON.stringify({ ...progress, ...rest }));
  await writeFile(join(state, "DONE"), "");
}

describe("a run's folder", () => {
  test("is numbered, and two that are made at the same time are two", async () => {
    const made = await Promise.all([1, 2, 3].map(() => RunFolder.create(undefined, SETTINGS)));
    expect(made.map(({ path }) => path.slice(folder.path.length + 1)).toSorted()).toEqual(
      [1, 2, 3].map((number) => join("runs", `name-randlora-${number}`)),
    );
    for (const run of made) await run[Symbol.asyncDispose]();
    await using last = await RunFolder.create(undefined, SETTINGS);
    expect(last.path).toEndWith("name-randlora-4");
    await using file = await RunFolder.create(undefined, { ...SETTINGS, model: "/m/tiny.safetensors" });
    expect(file.path).toEndWith("tiny-randlora-1");
    await using gguf = await RunFolder.create(undefined, { ...SETTINGS, model: "/m/tiny-q8.gguf" });
    expect(gguf.path).toEndWith("tiny-q8-randlora-1");
  });

  test("holds the settings, and belongs to one process at a time", async () => {
    const run = await RunFolder.create("out", SETTINGS);
    await expect(RunFolder.open("out")).rejects.toThrow(`process ${process.pid} trains into it`);
    await run[Symbol.asyncDispose]();
    const holder = await holdElsewhere(folder.at("out", "lock.OWNER"), "file");
    await utimes(holder.path, new Date(0), new Date(0)); // no clock is asked
    await expect(RunFolder.open("out")).rejects.toThrow(`process ${holder.pid} trains into it`);
    await holder.kill();
    await writeFile(join("out", `lock.${ownerName({ ...self(), pid: 999_999_999 })}`), ""); // of a process that is no more
    await writeFile(join("out", "lock.00000000-999999999-1"), ""); // or was before the machine was restarted
    const { folder: again, settings } = await RunFolder.open("out");
    expect(settings).toEqual(SETTINGS);
    expect((await readdir("out")).filter((name) => name.startsWith("lock.")).length).toBe(1);
    await again[Symbol.asyncDispose]();
    expect(await readdir("out")).toEqual(["run.json"]);
  });

  test("goes again when nothing was trained in it, and only then", async () => {
    await mkdir("there");
    for (const out of ["there", "a/new", undefined]) {
      await using run = await RunFolder.create(out, SETTINGS);
      // What is there before the first step is done.
      await writeFile(run.metrics, '{"step":0,"valid_loss":1}\n');
      await writeState(run, 0);
      for (const made of ["adapter", "best"]) await mkdir(join(run.path, made));
      await run.discardUnused();
    }
    expect([await readdir("."), await readdir("there")]).toEqual([["there"], []]);
    await using trained = await RunFolder.create("new", SETTINGS);
    await writeFile(trained.metrics, '{"step":1,"loss":1,"learning_rate":1}\n');
    await trained.discardUnused();
    expect(await readdir("new")).toContain("run.json");
    await using saved = await RunFolder.create("saved", SETTINGS);
    await writeState(saved, 1);
    await saved.discardUnused();
    expect((await readdir("saved")).toSorted()).toEqual(expect.arrayContaining(["run.json", "state"]));
  });

  test("is made where a start that was killed left half of its settings", async () => {
    await mkdir("killed");
    await writeFile("killed/run.json.part", "{");
    await using folder = await RunFolder.create("killed", SETTINGS);
    expect((await readdir(folder.path)).filter((name) => !name.startsWith("lock."))).toEqual(["run.json"]);
  });

  test("is not made where something is", async () => {
    await (await RunFolder.create("out", SETTINGS))[Symbol.asyncDispose]();
    await expect(RunFolder.create("out", SETTINGS)).rejects.toThrow("there is a run already");
    await mkdir("full");
    await writeFile("full/file", "");
    await expect(RunFolder.create("full", SETTINGS)).rejects.toThrow("not empty");
    await expect(RunFolder.open("full")).rejects.toThrow("not a run");
    await expect(RunFolder.open("none")).rejects.toThrow("not a run");
    await expect(RunFolder.open("ful")).rejects.toMatchObject({ hint: "did you mean full?" });
    await writeFile("full/run.json", "{");
    await expect(RunFolder.open("full")).rejects.toThrow("not JSON");
  });

  test("the newest is the one that was written to last", async () => {
    await expect(newestRun()).rejects.toThrow("no run to resume");
    for (const name of ["a", "b"]) await (await RunFolder.create(`runs/${name}`, SETTINGS))[Symbol.asyncDispose]();
    await mkdir("runs/c");
    await utimes("runs/a/run.json", 1000, 1000);
    await utimes("runs/b/run.json", 2000, 2000);
    expect(await newestRun()).toBe(join("runs", "b"));
    await mkdir("runs/a/state");
    expect(await newestRun()).toBe(join("runs", "a"));
  });

  test("of several the newest unfinished is resumed, whatever ended after it", async () => {
    const settings = { ...SETTINGS, steps: 3, epochs: null };
    for (const [name, step] of [
      ["cut", 2],
      ["done", 3],
    ] as const) {
      await using run = await RunFolder.create(`runs/${name}`, settings);
      await writeState(run, step);
      await utimes(`runs/${name}/run.json`, 1000 * step, 1000 * step);
      await utimes(run.states, 1000 * step, 1000 * step);
    }
    expect(await newestRun()).toBe(join("runs", "cut"));
    await rm("runs/cut", { recursive: true });
    expect(await newestRun()).toBe(join("runs", "done"));
  });
});

test("metrics are cut back to a step; half a line goes", async () => {
  const path = folder.at("metrics.jsonl");
  const lines = [0, 1, 2, 2, 3].map((step) => ({ step, valid_loss: step / 2 }));
  {
    await using file = await MetricsFile.open(path);
    for (const line of lines) await file.append(line);
    await file.sync();
  }
  await appendFile(path, '{"step":3,"va');
  const read = async () =>
    (await readFile(path, "utf8"))
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line))
      .map(({ time: _time, ...line }) => line);
  await (await MetricsFile.open(path, { step: 9, evaluated: 9 }))[Symbol.asyncDispose]();
  expect(await read()).toEqual(lines);
  {
    await using file = await MetricsFile.open(path, { step: 2, evaluated: 2 });
    await file.append({ step: 3, valid_loss: 7 });
  }
  expect(await read()).toEqual([...lines.slice(0, 4), { step: 3, valid_loss: 7 }]);
  // An evaluation that the state does not know of will be made again.
  await (await MetricsFile.open(path, { step: 2, evaluated: 1 }))[Symbol.asyncDispose]();
  expect(await read()).toEqual(lines.slice(0, 2));
  await (await MetricsFile.open(path))[Symbol.asyncDispose]();
  expect(await read()).toEqual([]);
});

test("a folder is exchanged whole, and stays as it was when a file cannot be written", async () => {
  const target = folder.at("adapter");
  const put = (files: Record<string, string>) => async (into: string) => {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(into, name)), { recursive: true });
      await writeFile(join(into, name), text);
    }
  };
  await refreshFolder(target, put({ a: "1", b: "1", "sub/c": "1" }));
  await using reader = await open(target);
  const inode = async () => (await stat(target)).ino;
  const before = await inode();
  await refreshFolder(target, put({ a: "2", d: "2", "sub/c": "2" }));
  expect((await readdir(target, { recursive: true })).toSorted()).toEqual(["a", "d", "sub", join("sub", "c")]);
  // Another folder, not the old one with other files in it.
  expect(await inode()).not.toBe(before);
  expect((await reader.stat()).ino).toBe(before);
  const broken = refreshFolder(target, async (into) => {
    await put({ a: "3" })(into);
    throw Object.assign(new Error("full"), { code: "ENOSPC" });
  });
  await expect(broken).rejects.toThrow("the disk is full");
  expect(await readFile(join(target, "a"), "utf8")).toBe("2");
  expect(await readdir(folder.path)).toEqual(["adapter"]);
});
