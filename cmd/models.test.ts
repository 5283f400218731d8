import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { SUPPORTED_TYPES } from "../src/models/decoder/architectures/index.ts";
import { IMAGE_TYPES } from "../src/models/vision/index.ts";

test("models lists every model_type that can be run, and what GGUF calls it", () => {
  const run = (...args: readonly string[]) =>
    spawnSync(process.execPath, [join(import.meta.dir, "main.ts"), "models", ...args], { encoding: "utf8" }).stdout;
  const { models } = JSON.parse(run("--json")) as { models: { type: string; title: string; gguf: string | null }[] };
  expect(models.map(({ type }) => type)).toEqual([...SUPPORTED_TYPES, ...IMAGE_TYPES]);
  const mistral = models.find(({ type }) => type === "mistral");
  expect([mistral?.title.startsWith("Mistral"), mistral?.gguf]).toEqual([true, "llama"]);
  const lines = run().split("\n");
  for (const { type, title } of models) {
    expect(lines.some((line) => line.startsWith(`${type} `) && line.includes(title))).toBe(true);
  }
});
