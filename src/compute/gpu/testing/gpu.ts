// What the tests of this folder and of the compiled binary share.
import { mkdtemp, readFile, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A writable folder on a mount that forbids programs and libraries. */
export interface NoexecFolder extends AsyncDisposable {
  readonly path: string;
}

/**
 * A `noexec` folder: a small tmpfs where this process may mount one (root), else a folder on a mount that is so already
 * (often /dev/shm), else undefined.
 */
export async function mountNoexec(): Promise<NoexecFolder | undefined> {
  if (process.platform !== "linux") return undefined;
  const path = await mkdtemp(join(tmpdir(), "randlora-noexec-"));
  if (Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "noexec,size=256m", "tmpfs", path], { stderr: "ignore" }).success) {
    return {
      path,
      async [Symbol.asyncDispose]() {
        Bun.spawnSync(["umount", path]);
        await rmdir(path);
      },
    };
  }
  await rmdir(path);
  for (const line of (await readFile("/proc/mounts", "utf8")).split("\n")) {
    const [, target = "", , options = ""] = line.split(" ");
    if (!/(^|,)noexec(,|$)/.test(options) || !/(^|,)rw(,|$)/.test(options)) continue;
    try {
      const folder = await mkdtemp(join(target, "randlora-noexec-"));
      return { path: folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
    } catch {
      // Not ours to write to: the next one.
    }
  }
  return undefined;
}
