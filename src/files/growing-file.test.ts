import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { readdir, symlink } from "node:fs/promises";
import { GrowingFile } from "./growing-file.ts";
import { TemporaryFolder } from "./testing/folder.ts";

const NEW = { resume: false, force: false };
const FORCED = { resume: false, force: true };
const RESUMED = { resume: true, force: false };

test("a file that is not there grows under its name, from its first save on", async () => {
  await using folder = await TemporaryFolder.create();
  const file = await GrowingFile.open(folder.at("new"), NEW);
  expect([file.begun, existsSync(folder.at("new"))]).toEqual([undefined, false]);
  for (const text of ["1", "12"]) {
    await file.save(text);
    expect(await Bun.file(folder.at("new")).text()).toBe(text);
  }
  await file.finish();
  await file[Symbol.asyncDispose]();
  expect(await readdir(folder.path)).toEqual(["new"]);
  await expect(GrowingFile.open(folder.at("new"), NEW)).rejects.toThrow("new: it exists already");
});

test("a file that is replaced stays until the new one is finished, which may take several beginnings", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("file");
  await Bun.write(path, "old");
  const stopped = await GrowingFile.open(path, FORCED);
  await stopped.save("1");
  expect(await Bun.file(path).text()).toBe("old");
  await stopped[Symbol.asyncDispose]();
  const resumed = await GrowingFile.open(path, RESUMED);
  expect(await Bun.file(resumed.begun ?? "").text()).toBe("1");
  await resumed.save("12");
  expect(await Bun.file(path).text()).toBe("old");
  await resumed.finish();
  await resumed[Symbol.asyncDispose]();
  expect([await Bun.file(path).text(), await readdir(folder.path)]).toEqual(["12", ["file"]]);
  // Without another beside it, it is gone on with where it is.
  expect((await GrowingFile.open(path, RESUMED)).begun).toBe(path);
});

test("no input is replaced, and what cannot be written is refused at once", async () => {
  await using folder = await TemporaryFolder.create();
  await Bun.write(folder.at("data", "task", "test.json"), "questions");
  for (const input of [folder.at("data"), folder.at("data", "task", "test.json")]) {
    const open = GrowingFile.open(folder.at("data", "task", "test.json"), { ...FORCED, inputs: [input] });
    await expect(open).rejects.toThrow(/it is (a file of )?the input/);
  }
  // A rename would find it out when all has been computed.
  const onFolder = GrowingFile.open(folder.at("data"), FORCED);
  await expect(onFolder).rejects.toThrow("it exists and is not a file");
  await expect(GrowingFile.open(folder.at("data", "task", "test.json", "file"), NEW)).rejects.toMatchObject({
    code: "file",
  });
});

test("two do not write one file, and neither writes through a link beside it", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("file");
  await Bun.write(folder.at("mine"), "mine");
  await symlink("mine", `${path}.part`);
  {
    await using one = await GrowingFile.open(path, RESUMED);
    await one.save("1");
    await expect(GrowingFile.open(path, RESUMED)).rejects.toThrow(/file: process \d+ is writing it/);
    expect(await Bun.file(folder.at("mine")).text()).toBe("mine");
  }
  await using two = await GrowingFile.open(path, RESUMED);
  expect(two.begun).toBe(path);
});
