import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdir, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeAdapter } from "../adapters/merge/testing/models.ts";
import { TemporaryFolder } from "../files/testing/folder.ts";
import { readRun, type Recorded } from "../models/folder/locate.ts";
import { chooseModel, describeDefaultModel, findDefaultModel, type ModelRequest } from "./default-model.ts";

let temporary: TemporaryFolder;
let folder: string;
beforeEach(async () => {
  temporary = await TemporaryFolder.create();
  folder = temporary.path;
});
afterEach(() => temporary[Symbol.asyncDispose]());

/** A file of a given age in minutes. */
async function file(path: string, age: number, content: object = {}): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), JSON.stringify(content));
  const time = Date.now() / 1000 - age * 60;
  await utimes(join(folder, path), time, time);
}

describe("without MODEL", () => {
  test("the newest of runs and merged models is taken, if it has something to load", async () => {
    await file("old-merged/config.json", 30);
    expect(await findDefaultModel(folder)).toBe("old-merged");
    await file("runs/a/adapter/adapter_config.json", 20);
    expect(await findDefaultModel(folder)).toBe(join("runs", "a"));
    await file("runs/b/model/config.json", 10);
    expect(await findDefaultModel(folder)).toBe(join("runs", "b"));
    await file("runs/c/run.json", 1);
    await file("base/config.json", 1);
    expect(await findDefaultModel(folder)).toBe(join("runs", "b"));
    await file("new-merged/config.json", 5);
    expect(await findDefaultModel(folder)).toBe("new-merged");
    await file("merged/config.json", 4);
    await file("submerged/config.json", 3);
    expect(await findDefaultModel(folder)).toBe("merged");
  });

  test("runs and merged models of images are passed over", async () => {
    await file("runs/text/adapter/adapter_config.json", 20);
    await file("runs/shapes/run.json", 9, { model: "org/clip", images: { head: "linear" } });
    await file("runs/shapes/adapter/adapter_config.json", 9);
    await file("shapes-merged/config.json", 5, { model_type: "clip" });
    expect(await findDefaultModel(folder)).toBe(join("runs", "text"));
  });

  test("where nothing is there, it is the model inside the program", async () => {
    expect(await findDefaultModel(folder)).toBe("embedded");
    expect(describeDefaultModel("embedded")).toContain("inside the program");
  });
});

test("a run stands for its model, with itself as the adapter; a full run for itself", async () => {
  await file("runs/a/run.json", 1, { model: "org/base", rank: 32 });
  await file("runs/full/run.json", 1, { model: "org/base" });
  await file("runs/full/model/config.json", 1);
  await file("runs/full-best/run.json", 1, { model: "org/base" });
  await file("runs/full-best/best/config.json", 1);
  await file("runs/pinned/run.json", 1, { model: "org/base", commit: "0123456789".repeat(4) });
  await file("runs/broken/run.json", 1);
  await file("runs/broken/adapter/adapter_config.json", 1);
  await file("runs/a/best/adapter_config.json", 1);
  const at = (path: string) => join(folder, path);
  expect(await readRun(at("runs/a"))).toMatchObject({
    model: "org/base",
    place: { name: "org/base", commit: null },
    adapter: at("runs/a"),
  });
  expect((await readRun(at("runs/pinned"))).place).toEqual({ name: "org/base", commit: "0123456789".repeat(4) });
  expect(await readRun(at("runs/a/best"))).toMatchObject({ model: "org/base", adapter: at("runs/a/best") });
  for (const path of ["runs/full", "runs/full-best", "runs/broken/adapter", "nothing"]) {
    expect(await readRun(at(path))).toEqual({ model: at(path), place: at(path), adapter: undefined });
  }
  await expect(readRun(at("runs/broken"))).rejects.toMatchObject({ code: "format" });
});

describe("a command line", () => {
  const choose = (request: Partial<ModelRequest>) => {
    const find = async (place: string | Recorded) =>
      (typeof place === "string" ? place : place.name).replace("org/", `${folder}/`);
    return chooseModel({ model: folder, adapters: [], scales: [], ...request }, { model: find, adapter: find });
  };

  test("pairs adapters with scales, a run's own first, and looks names up", async () => {
    await file("base/config.json", 1);
    await file("runs/a/run.json", 1, { model: "org/base" });
    const run = join(folder, "runs/a");
    const modules = { "model.q_proj": [8, 8] } as const;
    for (const name of ["runs/a/adapter", "x"]) {
      await writeAdapter(join(folder, name), { r: 4, alpha: 4, seed: 1, modules });
    }
    expect(await choose({ model: run, adapters: ["org/x"], scales: [2, 0.5] })).toEqual({
      location: { folder: join(folder, "base"), weights: undefined },
      adapters: [
        { path: run, scale: 2 },
        { path: join(folder, "x"), scale: 0.5 },
      ],
    });
    const { adapters } = await choose({ adapters: ["org/x", run], scales: [3] });
    expect(adapters.map(({ scale }) => scale)).toEqual([3, 3]);
    await expect(choose({ adapters: ["org/base"] })).rejects.toMatchObject({ code: expect.any(String) });
  });

  test.each([
    [{ scales: [1] }, "--scale without an adapter"],
    [{ generator: "philox-v1" as const }, "--generator without an adapter"],
    [{ scales: [1, 2], adapters: ["a", "b", "c"] }, "--scale is given 2 times for 3 adapters"],
  ])("%j is wrong usage", async (request, message) => {
    await expect(choose(request)).rejects.toMatchObject({ code: "usage", message });
  });
});
