/*
 * Bun's own executables for other platforms, which `bun build --compile` puts the program into. They come from npm, as
 * every dependency does (the packages that the npm package `bun` chooses from), and are kept outside the repository.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

/** Platforms that `build:all` builds for, as Bun names them, and the npm package with the runtime of each. */
export const TARGETS = {
  "linux-x64": { package: "@oven/bun-linux-x64", executable: "bin/bun" },
  "linux-arm64": { package: "@oven/bun-linux-aarch64", executable: "bin/bun" },
  "darwin-x64": { package: "@oven/bun-darwin-x64", executable: "bin/bun" },
  "darwin-arm64": { package: "@oven/bun-darwin-aarch64", executable: "bin/bun" },
  "windows-x64": { package: "@oven/bun-windows-x64", executable: "bin/bun.exe" },
} as const;

export type Target = keyof typeof TARGETS;

/** The platform that this script runs on, as far as it is one of ours. */
export function hostTarget(): Target | undefined {
  const name = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  return isTarget(name) ? name : undefined;
}

export function isTarget(name: string): name is Target {
  return Object.hasOwn(TARGETS, name);
}

/**
 * Path of the runtime for a target in this very version of Bun; fetched once with `npm pack`.
 *
 * @throws {Error} with npm's words when the package cannot be had
 */
export async function runtime(target: Target): Promise<string> {
  const { package: name, executable } = TARGETS[target];
  const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  const folder = join(cache, "randlora", "bun", Bun.version, target);
  const path = join(folder, "package", executable);
  if (existsSync(path)) return path;

  await mkdir(join(folder, ".."), { recursive: true });
  const partial = await mkdtemp(`${folder}-`);
  try {
    await execute(["npm", "pack", "--silent", `${name}@${Bun.version}`], partial);
    for (const archive of new Bun.Glob("*.tgz").scanSync(partial)) await execute(["tar", "-xzf", archive], partial);
    await rm(folder, { recursive: true, force: true });
    await rename(partial, folder);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  if (!existsSync(path)) throw new Error(`${name}@${Bun.version} holds no ${executable}`);
  return path;
}

async function execute(command: string[], cwd: string): Promise<void> {
  const child = Bun.spawn(command, { cwd, stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const [status, words] = await Promise.all([child.exited, child.stderr.text()]);
  if (status !== 0) throw new Error(`${command.join(" ")}: status ${status}\n${words}`);
}
