/*
 * Bun's own executables for other platforms, which `bun build --compile` puts the program into. They come from npm, as
 * every dependency does (the packages that the npm package `bun` chooses from), and are kept outside the repository.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";

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
 * Path of the runtime for a target in this very version of Bun. The archive is fetched once with `npm pack` and kept; it
 * is held to package-lock.json and unpacked anew each time, since what comes of it is shipped.
 *
 * @throws {Error} with npm's words when the package cannot be had; when it is not the one that the lock file names
 */
export async function runtime(target: Target): Promise<string> {
  const { package: name, executable } = TARGETS[target];
  const cache = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  const folder = join(cache, "randlora", "bun", Bun.version, target);
  const path = join(folder, "package", executable);

  await mkdir(join(folder, ".."), { recursive: true });
  const partial = await mkdtemp(`${folder}-`);
  try {
    const archive = join(partial, ARCHIVE);
    // Moved, not copied: one that turns out to be another is gone, and fetched again the next time.
    if (existsSync(join(folder, ARCHIVE))) await rename(join(folder, ARCHIVE), archive);
    else {
      await execute(["npm", "pack", "--silent", `${name}@${Bun.version}`], partial);
      for (const file of new Bun.Glob("*.tgz").scanSync(partial)) await rename(join(partial, file), archive);
    }
    await checkArchive(
      archive,
      name,
      Bun.version,
      await Bun.file(join(import.meta.dir, "../package-lock.json")).json(),
    );
    await execute(["tar", "-xzf", archive], partial);
    await rm(folder, { recursive: true, force: true });
    await rename(partial, folder);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  if (!existsSync(path)) throw new Error(`${name}@${Bun.version} holds no ${executable}`);
  return path;
}

const ARCHIVE = "runtime.tgz";

const Lock = v.object({
  packages: v.record(v.string(), v.object({ version: v.optional(v.string()), integrity: v.optional(v.string()) })),
});

/**
 * Holds a package's archive to the lock file.
 * @throws {Error} when the lock file has no such package in this version, or its bytes are others
 */
export async function checkArchive(archive: string, name: string, version: string, lock: unknown): Promise<void> {
  const locked = v.parse(Lock, lock).packages[`node_modules/${name}`];
  if (locked?.version !== version || locked.integrity === undefined) {
    throw new Error(`package-lock.json has no ${name}@${version}`);
  }
  const found = `sha512-${createHash("sha512")
    .update(await readFile(archive))
    .digest("base64")}`;
  if (found === locked.integrity) return;
  throw new Error(`what was fetched is not the ${name}@${version} of package-lock.json: its hash is ${found}`);
}

/** Runs a command. @throws {Error} with its words where it fails */
export async function execute(command: string[], cwd: string): Promise<void> {
  const child = Bun.spawn(command, { cwd, stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const [status, words] = await Promise.all([child.exited, child.stderr.text()]);
  if (status !== 0) throw new Error(`${command.join(" ")}: status ${status}\n${words}`);
}
