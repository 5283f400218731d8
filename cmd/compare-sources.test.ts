import { beforeAll, expect, test } from "bun:test";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { writeTexts } from "../src/train/testing/runs.ts";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora } from "./testing/program.ts";

const folder = await TemporaryFolder.forTests();
const at = folder.at.bind(folder);
const RECORD = "done/compare.json";

async function compare(...args: readonly string[]) {
  return await randlora(["compare", ...args, "--json"], { cwd: folder.path });
}

beforeAll(async () => {
  await cp(STORIES, at("model"), { recursive: true });
  await writeTexts(at("train.jsonl"), 8);
  const methods = ["--methods", "lora,vera", "--params", "4K", "--seeds", "1", "--steps", "1"];
  // Each seed holds other samples back.
  const data = ["--data", "train.jsonl", "--valid-split", "0.25", "--targets", "q_proj,v_proj"];
  const { status, stderr } = await compare("model", ...data, ...methods, "--out", "done");
  expect([status, stderr]).toEqual([0, expect.any(String)]);
});

/** Goes on with more seeds while a file has other bytes. */
async function withChanged(file: string, change: (bytes: Buffer) => Buffer) {
  const bytes = await readFile(at(file));
  await writeFile(at(file), change(bytes));
  try {
    return await compare("--resume", "done", "--seeds", "2");
  } finally {
    await writeFile(at(file), bytes);
  }
}

test("compare.json tells the data and the base from others", async () => {
  const { sha256 } = await Bun.file(at(RECORD)).json();
  const hash = expect.stringMatching(/^[0-9a-f]{64}$/);
  expect(sha256).toEqual({ data: hash, base: hash, config: hash });
});

test("more seeds on other data, or from another base, are refused before anything is trained or written", async () => {
  const before = await readFile(at(RECORD), "utf8");
  const more = (bytes: Buffer) => Buffer.concat([bytes, bytes.subarray(0, bytes.indexOf("\n") + 1)]);
  const other = (bytes: Buffer) => {
    const changed = Buffer.from(bytes);
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
    return changed;
  };
  const theta = (bytes: Buffer) => Buffer.from(JSON.stringify({ ...JSON.parse(bytes.toString()), rope_theta: 123 }));
  for (const [file, change, cause] of [
    ["train.jsonl", more, "train.jsonl: not the data that the comparison began with"],
    ["model/model.safetensors", other, "model: its weights are not those that the comparison began with"],
    ["model/config.json", theta, "model: its config.json is not the one that the comparison began with"],
  ] as const) {
    const { status, stdout, stderr } = await withChanged(file, change);
    expect([status, stdout]).toEqual([3, ""]);
    expect(stderr).toContain(cause);
    expect(stderr).toContain("or start a new comparison");
  }
  expect(await readFile(at(RECORD), "utf8")).toBe(before);
});

test("with nothing left to train it is shown, even without the data", async () => {
  const bytes = await readFile(at("train.jsonl"));
  await rm(at("train.jsonl"));
  const shown = await compare("--resume", "done");
  await writeFile(at("train.jsonl"), bytes);
  expect([shown.status, JSON.parse(shown.stdout).results.length]).toEqual([0, 2]);
});

test("a comparison of an earlier version goes on, and has them from then on", async () => {
  const { sha256, ...rest } = await Bun.file(at(RECORD)).json();
  await writeFile(at(RECORD), JSON.stringify(rest));
  const { status, stdout } = await compare("--resume", "done", "--seeds", "2");
  expect([status, JSON.parse(stdout).results.length]).toEqual([0, 4]);
  expect((await Bun.file(at(RECORD)).json()).sha256).toEqual(sha256);
});
