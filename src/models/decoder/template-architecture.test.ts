// The template of an architecture (CONTRIBUTING.md) in the program: what runs and trains one, runs and trains it.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cp, readFile, writeFile } from "node:fs/promises";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { registered, template } from "../testing/template-architecture.ts";
import { loadConfig } from "./architectures/index.ts";
import { loadDecoder } from "../folder/load-decoder.ts";
import { logitsAfter } from "../testing/logits.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

/** Logits after a prompt of 30 tokens. */
async function logitsOf(folder: string): Promise<Float32Array> {
  using decoder = await loadDecoder(gpu, folder);
  return await logitsAfter(
    decoder,
    Array.from({ length: 30 }, (_, i) => 3 + ((i * 37) % 500)),
  );
}

test("the template runs the weights of a llama, and its window is seen", async () => {
  await using folder = await TemporaryFolder.create();
  const json = JSON.parse(await readFile(`${STORIES}/config.json`, "utf8")) as object;
  const write = async (name: string, more: object) => {
    await cp(STORIES, folder.at(name), { recursive: true });
    const config = { ...json, model_type: template.type, architectures: ["Template"], ...more };
    await writeFile(folder.at(name, "config.json"), JSON.stringify(config));
    return folder.at(name);
  };
  const [wide, narrow] = [await write("wide", {}), await write("narrow", { sliding_window: 4 })];
  await expect(loadConfig(wide)).rejects.toThrow("template");
  using _ = registered(template);
  const llama = await logitsOf(STORIES);
  expect(await logitsOf(wide)).toEqual(llama);
  expect(await logitsOf(narrow)).not.toEqual(llama);
});
