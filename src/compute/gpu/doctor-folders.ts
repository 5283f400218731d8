import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdtempSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

/** A folder that the program writes to. */
export interface FolderState {
  readonly path: string;
  readonly exists: boolean;
  /** Files can be made in it; where it does not exist yet, it can be made. */
  readonly writable: boolean;
  /** Bytes left on its disk; undefined where the system does not say. */
  readonly freeBytes: number | undefined;
}

/** The folder that a compiled binary unpacks the GPU library into. */
export interface TempFolderState extends FolderState {
  /** The variable that chose it, if one did. */
  readonly setBy: string | undefined;
  /** Not mounted `noexec`: libraries can be loaded from it. */
  readonly executable: boolean;
}

/** The GPU library unpacked, with room to spare. */
export const UNPACKED_BYTES = 64e6;

/** Where Bun unpacks what is embedded in a compiled binary: `BUN_TMPDIR`, else the system's temp folder. */
export function checkTempFolder(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): TempFolderState {
  const setBy = ["BUN_TMPDIR", "TMPDIR", "TMP", "TEMP"].find((name) => (environment[name] ?? "") !== "");
  const path = resolve(environment["BUN_TMPDIR"] || tmpdir());
  const state = checkFolder(path);
  const probed = state.exists ? probe(path) : { writable: false, executable: false };
  return { ...state, ...probed, setBy };
}

/** A folder that may not exist yet. */
export function checkFolder(path: string): FolderState {
  const exists = isFolder(path);
  let nearest = resolve(path);
  while (!existsSync(nearest) && dirname(nearest) !== nearest) nearest = dirname(nearest);
  return { path, exists, writable: isFolder(nearest) && canWrite(nearest), freeBytes: freeBytes(nearest) };
}

/** Writes a file and starts it: the kernel refuses what lies on a `noexec` mount before it looks inside. */
function probe(path: string): { writable: boolean; executable: boolean } {
  let folder: string | undefined;
  try {
    folder = mkdtempSync(join(path, "randlora-doctor-"));
    const file = join(folder, "probe");
    writeFileSync(file, "", { mode: 0o700 });
    if (process.platform === "win32") return { writable: true, executable: true };
    const { error } = spawnSync(file, { stdio: "ignore" });
    const refused = error !== undefined && "code" in error && (error.code === "EACCES" || error.code === "EPERM");
    return { writable: true, executable: !refused };
  } catch {
    return { writable: false, executable: false };
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function canWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function freeBytes(path: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}
