import { expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parameters, writeFolder } from "../testing/adapters.ts";
import { openAdapter } from "./open.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

const CONFIG = { peft_type: "RANDLORA", r: 4 };
const JSON_TEXT = JSON.stringify({ format: "randlora-adapter", version: 1, ...CONFIG, tensors: {} });

async function fileOf(path: string): Promise<string> {
  await using adapter = await openAdapter(path);
  return adapter.configFile;
}

test("a run folder is its best adapter, else its last", async () => {
  await using folder = await TemporaryFolder.create();
  await writeFolder(join(folder.path, "adapter"), CONFIG, parameters(4, { q: 8 }));
  expect(await fileOf(folder.path)).toBe(join(folder.path, "adapter", "adapter_config.json"));
  // Empty as long as nothing was best.
  await mkdir(join(folder.path, "best"));
  expect(await fileOf(folder.path)).toBe(join(folder.path, "adapter", "adapter_config.json"));
  await writeFolder(join(folder.path, "best"), CONFIG, parameters(4, { q: 8 }));
  expect(await fileOf(folder.path)).toBe(join(folder.path, "best", "adapter_config.json"));
  await writeFolder(folder.path, CONFIG, parameters(4, { q: 8 }));
  expect(await fileOf(folder.path)).toBe(join(folder.path, "adapter_config.json"));
});

test("an adapter.json, under any name, or in a folder", async () => {
  await using folder = await TemporaryFolder.create();
  await writeFile(join(folder.path, "adapter.json"), JSON_TEXT);
  await writeFile(join(folder.path, "other.json"), JSON_TEXT);
  expect(await fileOf(folder.path)).toBe(join(folder.path, "adapter.json"));
  expect(await fileOf(join(folder.path, "other.json"))).toBe(join(folder.path, "other.json"));
});

test("what is not an adapter is refused with the reason", async () => {
  await using folder = await TemporaryFolder.create();
  const file = async (name: string) => {
    await writeFile(join(folder.path, name), "x");
    return join(folder.path, name);
  };
  const refusals = [
    [await file("weights.pt"), "pickled weights are not read"],
    [await file("adapter_model.bin"), "pickled weights are not read"],
    [await file("model.gguf"), "GGUF is read as a model, not as an adapter"],
    [await file("model.safetensors"), "not a file of a PEFT adapter"],
    [join(folder.path, "nowhere"), "no such file or folder"],
    ["nobody/nothing-here", "cannot read nobody/nothing-here: no such file or folder"],
  ] as const;
  for (const [path, message] of refusals) {
    await expect(openAdapter(path)).rejects.toThrow(expect.objectContaining({ name: "RandloraError" }));
    await expect(openAdapter(path)).rejects.toThrow(message);
  }
});
