// What the tests of `randlora merge` share: files to merge, the command, and what a folder holds.
import { expect } from "bun:test";
import { createHash } from "node:crypto";
import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type TestAdapter,
  type TestModel,
  type Tensors,
  weights,
  writeAdapter,
  writeModel,
} from "../../src/adapters/merge/testing/models.ts";
import { TemporaryFolder } from "../../src/files/testing/folder.ts";
import { randlora, startProgram } from "./program.ts";

/** Runs `randlora merge`. */
export const runMerge = (args: readonly string[], options: Parameters<typeof randlora>[1]) =>
  randlora(["merge", ...args], options);

/** Starts the program in a folder, and waits until its unfinished output is there, or it has ended. */
export async function startWriting(folder: TemporaryFolder, args: readonly string[]) {
  const parts = async () => (await readdir(folder.path)).filter((name) => name.endsWith(".part"));
  const before = new Set(await parts());
  const child = startProgram(args, { cwd: folder.path });
  while (child.exitCode === null && (await parts()).every((name) => before.has(name))) await Bun.sleep(1);
  return child;
}

/** Kills the program while it writes, some milliseconds later each time. @returns whether it was killed, and had not ended */
export async function killWriting(folder: TemporaryFolder, args: readonly string[], attempt: number): Promise<boolean> {
  const child = await startWriting(folder, args);
  await Bun.sleep(attempt % 5);
  child.kill("SIGKILL");
  await child.exited;
  return child.signalCode === "SIGKILL";
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
  /** Default: 3, of wrong data (files/errors.ts). */
  readonly status?: number;
  readonly args?: readonly string[];
}

/** Runs a merge on spoilt files: one line must say what is wrong, a second what to do, and nothing may be left. */
export async function expectRefusal({ spoil, args = [], says, status = 3 }: Bad): Promise<void> {
  await using folder = await baseAndAdapter();
  await spoil(folder);
  const before = await contents(folder.path);
  const given = args.includes("--out") ? args : ["--out", "out", ...args];
  const run = await runMerge(["base", "adapter", ...given, "--quiet"], { cwd: folder.path });
  const lines = run.stderr.trimEnd().split("\n");
  expect(lines).toEqual([expect.stringMatching(/^error: /), expect.stringMatching(/^hint: ./)]);
  for (const part of says) expect(lines[0]).toContain(part);
  expect([run.status, run.stdout]).toEqual([status, ""]);
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
