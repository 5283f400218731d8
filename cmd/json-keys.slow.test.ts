import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { reports } from "../scripts/interface.ts";
import type { Key } from "../scripts/json-types.ts";
import { spawned } from "./testing/program.ts";

const SHAPES = join(import.meta.dir, "../fixtures/shapes");
const known = await reports();

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
  await Bun.write(folder.at("text.txt"), "Once upon a time there was a dog.");
});
afterAll(() => folder[Symbol.asyncDispose]());

/** Keys that are in one and not in the other, but for those that may be missing. */
function differences(value: unknown, keys: readonly Key[], place = ""): string[] {
  if (typeof value !== "object" || value === null) return [];
  const missing = keys.filter(({ name, isOptional }) => !isOptional && !Object.hasOwn(value, name));
  const found = Object.entries(value).flatMap(([name, inner]) => {
    const key = keys.find((one) => one.name === name);
    if (key === undefined) return [`${place}${name}: not documented`];
    const all = key.holds === "one" ? [inner] : Object.values(inner ?? {});
    return key.keys.length === 0 ? [] : all.flatMap((one) => differences(one, key.keys, `${place}${name}.`));
  });
  return [...missing.map(({ name }) => `${place}${name}: missing`), ...found];
}

// In this order: the first ones make what the others read.
test.each([
  ["finetune --dry-run", ["finetune", "--dry-run"]],
  ["finetune", ["finetune", "--steps", "1", "--quantize", "q8", "--profile", "--out", "run"]],
  ["runs list", ["runs", "list"]],
  ["merge", ["merge", "run", "--out", "merged"]],
  ["convert", ["convert", "run", "--to", "json", "--out", "adapter.json"]],
  ["convert --to lora", ["convert", "run", "--to", "lora", "--rank", "2", "--out", "lora"]],
  ["chat", ["chat", "merged", "-p", "Hi", "--max-tokens", "1"]],
  ["eval perplexity", ["eval", "perplexity", "run", "--file", "text.txt"]],
  ["inspect (adapter)", ["inspect", "run"]],
  ["inspect (checkpoint)", ["inspect", "merged"]],
  ["budget", ["budget", "embedded", "--params", "10K"]],
  ["tokenize", ["tokenize", "embedded", "Hi"]],
  ["classify", ["classify", join(SHAPES, "model"), join(SHAPES, "images/star.png")]],
  ["embed", ["embed", join(SHAPES, "model"), join(SHAPES, "images/star.png")]],
  ["runs rm", ["runs", "rm", "run", "--yes"]],
  ["models", ["models"]],
])("--json of %s has the keys that the documentation names", async (name, words) => {
  const { status, stdout, stderr } = await spawned([...words, "--json", "--quiet"], {
    cwd: folder.path,
    env: { RANDLORA_DEVICE: "cpu", RANDLORA_THREADS: "1" },
  });
  expect([status, stderr]).toEqual([0, expect.any(String)]);
  const report = known.find(({ command }) => command === name);
  const keys = [...(report?.keys ?? []), ...(report?.extended ?? []).flatMap((one) => one.keys)];
  expect(differences(JSON.parse(stdout), keys)).toEqual([]);
});
