import { TemporaryFolder } from "../../files/testing/folder.ts";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { locateModel } from "./locate.ts";

test("a folder is itself", async () => {
  await using folder = await TemporaryFolder.with({ "config.json": {} });
  expect(await locateModel(folder.path)).toEqual({ folder: folder.path, weights: undefined });
});

test.each(["model.safetensors", "model.safetensors.index.json"])("%s stands for its folder", async (name) => {
  await using folder = await TemporaryFolder.with({ [name]: "{}" });
  const weights = join(folder.path, name);
  expect(await locateModel(weights)).toEqual({ folder: folder.path, weights });
});

test("a full fine-tuning run stands for its best model, else its last, any other run for itself", async () => {
  await using both = await TemporaryFolder.with({ "run.json": {}, "model/config.json": {}, "best/config.json": {} });
  expect((await locateModel(both.path)).folder).toBe(join(both.path, "best"));
  await using full = await TemporaryFolder.with({ "run.json": {}, "model/config.json": {} });
  expect((await locateModel(full.path)).folder).toBe(join(full.path, "model"));
  await using other = await TemporaryFolder.with({ "run.json": {}, "best/adapter_config.json": {} });
  expect((await locateModel(other.path)).folder).toBe(other.path);
});

test("a Hub name is looked up where that is possible", async () => {
  const asked: unknown[] = [];
  const fetchFromHub = async (name: unknown) => {
    asked.push(name);
    return "the folder";
  };
  expect(await locateModel("org/name@v1", fetchFromHub)).toEqual({ folder: "the folder", weights: undefined });
  expect(asked).toEqual([{ repo: "org/name", revision: "v1" }]);
  await expect(locateModel("org/name")).rejects.toMatchObject({ code: "file", message: "org/name: no such folder" });
});

test("what is missing or no model is refused", async () => {
  await using folder = await TemporaryFolder.with({ "model.gguf": "", "notes.txt": "" });
  const missing = join(folder.path, "missing");
  await expect(locateModel(missing)).rejects.toMatchObject({
    code: "file",
    message: `${missing}: no such file or folder`,
  });
  await expect(locateModel(join(folder.path, "model.gguf"))).rejects.toMatchObject({
    code: "format",
    message: `${join(folder.path, "model.gguf")}: the file is incomplete`,
  });
  await expect(locateModel(join(folder.path, "notes.txt"))).rejects.toMatchObject({ code: "usage" });
});
