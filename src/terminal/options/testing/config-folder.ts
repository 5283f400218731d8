import { expect } from "bun:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sample } from "./spawn.ts";

/** A folder with a randlora.yaml, for as long as `act` takes. */
export async function withFile(yaml: string, act: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "randlora-config-"));
  try {
    await writeFile(join(folder, "randlora.yaml"), yaml);
    await act(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The folder as the home of a user whose own configuration is `yaml`. */
export async function withOwn(folder: string, yaml: string): Promise<Record<string, string>> {
  await mkdir(join(folder, "xdg", "randlora"), { recursive: true });
  await writeFile(join(folder, "xdg", "randlora", "randlora.yaml"), yaml);
  return { XDG_CONFIG_HOME: join(folder, "xdg") };
}

/** What `mix` of the sample program is told, run in a folder. */
export async function run(cwd: string, args: string[] = [], env: Record<string, string> = {}): Promise<unknown> {
  const outcome = await sample(["mix", "a", "b", "--json", ...args], { cwd, env });
  expect(outcome.stderr.replace(/^randlora.yaml in this folder sets .*\n/, "")).toBe("");
  return JSON.parse(outcome.stdout);
}
