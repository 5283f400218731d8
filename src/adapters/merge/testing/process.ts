// What the tests of `randlora merge` share: the program as a real process, and what a folder holds.
import { expect } from "bun:test";
import { createHash } from "node:crypto";
import { lstat, readFile } from "node:fs/promises";
import { join } from "node:path";
import { cleanEnvironment } from "../../../files/testing/process.ts";
import { type TestAdapter, type TestModel, type Tensors, weights, writeAdapter, writeModel } from "./models.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";

const MAIN = join(import.meta.dir, "../../../../cmd/main.ts");

export interface Run {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line that runs `randlora merge` with these arguments. */
export function mergeCommand(...args: readonly string[]): string[] {
  return [process.execPath, MAIN, "merge", ...args];
}

/** Runs `randlora merge` to its end. */
export async function runMerge(
  args: readonly string[],
  { cwd, env }: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Run> {
  const child = Bun.spawn(mergeCommand(...args), {
    cwd: cwd ?? import.meta.dir,
    env: cleanEnvironment(env),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status, stdout, stderr };
}

/** Every path below a folder, with what it holds: to see that nothing has changed. */
export async function contents(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const names = await Array.fromAsync(new Bun.Glob("**").scan({ cwd: folder, dot: true, onlyFiles: false }));
  for (const name of names.toSorted()) {
    const path = join(folder, name);
    const isFile = (await lstat(path)).isFile();
    found[name] = isFile
      ? createHash("sha256")
          .update(await readFile(path))
          .digest("hex")
      : "folder";
  }
  return found;
}

const Q = "model.layers.0.self_attn.q_proj";
const UP = "model.layers.0.mlp.up_proj";

export const TENSORS = {
  "model.embed_tokens.weight": weights("BF16", [40, 16], 1),
  [`${Q}.weight`]: weights("BF16", [16, 16], 2),
  [`${UP}.weight`]: weights("BF16", [40, 16], 3),
  "model.norm.weight": weights("F32", [16], 4),
} satisfies Tensors;
export const Q_NAME = `${Q}.weight`;
export const LAMBDA_NAME = `base_model.model.${Q}.randlora_lambda`;

export const ADAPTER: TestAdapter = { r: 4, alpha: 8, seed: 1, modules: { [Q]: [16, 16], [UP]: [40, 16] } };

/** A folder with `base`, a model folder, and `adapter`, a PEFT folder that fits it. */
export async function baseAndAdapter(
  model: TestModel = { tensors: TENSORS },
  adapter: TestAdapter = ADAPTER,
): Promise<TemporaryFolder> {
  const folder = await TemporaryFolder.create();
  await writeModel(folder.at("base"), model);
  await writeAdapter(folder.at("adapter"), adapter);
  return folder;
}

/** Something wrong with the files: what is done to them, and what the one line must then say. */
export interface Bad {
  readonly name: string;
  readonly spoil: (folder: TemporaryFolder) => Promise<unknown>;
  /** Parts of the error: the file, the tensor, the cause. */
  readonly says: readonly string[];
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a merge on spoilt files: one line must say what is wrong, a second what to do, and nothing may be left. */
export async function expectRefusal({ spoil, args = [], env = {}, says }: Bad): Promise<void> {
  await using folder = await baseAndAdapter();
  await spoil(folder);
  const before = await contents(folder.path);
  const given = args.includes("--out") ? args : ["--out", "out", ...args];
  const run = await runMerge(["base", "adapter", ...given, "--quiet"], { cwd: folder.path, env });
  const lines = run.stderr.trimEnd().split("\n");
  expect(lines).toEqual([expect.stringMatching(/^error: /), expect.stringMatching(/^hint: ./)]);
  for (const part of says) expect(lines[0]).toContain(part);
  // By what is wrong: files/errors.ts.
  expect(run.status).toBeOneOf([1, 3]);
  expect(run.stdout).toBe("");
  expect(await contents(folder.path)).toEqual(before);
}

/** The files of {@link baseAndAdapter}. */
export const FILES = {
  base: "base/model.safetensors",
  config: "adapter/adapter_config.json",
  weights: "adapter/adapter_model.safetensors",
} as const;

/** Writes the adapter again with other settings or tensors. */
export const adapter =
  (extra: Parameters<typeof writeAdapter>[2], own = ADAPTER) =>
  (folder: TemporaryFolder): Promise<unknown> =>
    writeAdapter(folder.at("adapter"), own, extra);

/** Writes the base again with other tensors. */
export const base =
  (tensors: Parameters<typeof writeModel>[1]["tensors"]) =>
  (folder: TemporaryFolder): Promise<unknown> =>
    writeModel(folder.at("base"), { tensors: { ...TENSORS, ...tensors } });
