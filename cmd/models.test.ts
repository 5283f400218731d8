import { expect, test } from "bun:test";
import { join } from "node:path";
import { ARCHITECTURES, SUPPORTED_TYPES } from "../src/models/decoder/architectures/index.ts";
import type { ModelKind } from "../src/measure/inspect/models.ts";
import { IMAGE_TYPES } from "../src/models/vision/index.ts";
import { randlora } from "./testing/program.ts";

test("README lists the same models, and which of them may be GGUF files", async () => {
  const readme = await Bun.file(join(import.meta.dir, "..", "README.md")).text();
  // The text of a model with images has a model_type of its own, and the same title.
  const titles = (isOfGguf: boolean) => [
    ...new Set(ARCHITECTURES.flatMap(({ title, gguf }) => ((gguf !== undefined) === isOfGguf ? [title] : []))),
  ];
  const row = (name: string) => readme.split("\n").find((line) => line.startsWith(`| ${name} |`));
  for (const [name, isOfGguf] of [
    ["Language models, as safetensors or [GGUF](docs/guide/gguf.md)", true],
    ["Language models, as safetensors", false],
  ] as const) {
    const listed = titles(isOfGguf);
    expect(row(name)).toBe(listed.length === 0 ? undefined : `| ${name} | ${listed.join("; ")} |`);
  }
});

test("models lists every model_type that can be run, what GGUF calls it, and what was verified", async () => {
  const run = async (...args: readonly string[]) => (await randlora(["models", ...args])).stdout;
  const { models } = JSON.parse(await run("--json")) as { models: ModelKind[] };
  expect(models.map(({ type }) => type)).toEqual([...SUPPORTED_TYPES, ...IMAGE_TYPES]);
  const mistral = models.find(({ type }) => type === "mistral");
  expect([mistral?.title.startsWith("Mistral"), mistral?.gguf]).toEqual([true, "llama"]);
  const texts = ["logits", "texts", "training", "merge", "quantize"];
  const wanted = models.map(({ type, gguf }) => {
    return IMAGE_TYPES.includes(type) ? texts.filter((check) => check !== "texts") : gguf ? [...texts, "GGUF"] : texts;
  });
  expect(models.map(({ verified }) => verified)).toEqual(wanted);
  const lines = (await run()).split("\n");
  for (const { type, title } of models) {
    expect(lines.some((line) => line.startsWith(`${type} `) && line.includes(title))).toBe(true);
  }
});
