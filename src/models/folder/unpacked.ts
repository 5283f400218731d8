import { rmSync } from "node:fs";
import { lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { cacheFolder } from "../../files/cache-folder.ts";
import { naming } from "../../files/failure.ts";
import { showPathAs } from "../../files/shown-paths.ts";
import { besides } from "../../files/whole-file.ts";

/**
 * Files as a folder on the disk, for readers that work with ranges or paths: in `place` of the cache folder, or in a temporary
 * one of this process where that cannot be written, or holds what is not ours. The folder is named by its content, so another
 * version of the program, or of the content, has its own.
 * @param kind what its name begins with
 * @param contents by file name
 * @param shownAs what messages call the folder
 */
export async function unpacked(
  place: string,
  kind: string,
  contents: ReadonlyMap<string, Buffer>,
  shownAs: string,
): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  for (const [name, bytes] of contents) hash.update(`${name} ${bytes.length} `).update(bytes);
  const name = `${kind}-${hash.digest("hex").slice(0, 16)}`;
  const cached = join(cacheFolder(), place, name);
  const folder = await unpackTo(cached, contents).catch(async () =>
    unpackTo(join(await ownTemporary(), name), contents),
  );
  showPathAs(folder, shownAs);
  return folder;
}

/** Puts in place what is not there byte for byte; a link or a pipe of that name gives way to the file. */
async function unpackTo(folder: string, contents: ReadonlyMap<string, Buffer>): Promise<string> {
  await naming(folder, "write", mkdir(folder, { recursive: true }));
  for (const [name, bytes] of contents) {
    const path = join(folder, name);
    if (await holds(path, bytes)) continue;
    const temporary = besides(path);
    try {
      await naming(path, "write", writeFile(temporary, bytes, { flag: "wx" }));
      await naming(path, "write", rename(temporary, path));
    } finally {
      await rm(temporary, { force: true });
    }
  }
  await refuseStrangers(folder, contents);
  return folder;
}

/** A file beside ours, such as chat_template.jinja, would be taken for a part of the model. */
async function refuseStrangers(folder: string, contents: ReadonlyMap<string, Buffer>): Promise<void> {
  for (const name of await naming(folder, "read", readdir(folder))) {
    // Of a process that is unpacking, or was ended.
    if (contents.has(name) || name.endsWith(".part")) continue;
    throw new RandloraError("file", `${join(folder, name)} is not ours`);
  }
}

async function holds(path: string, bytes: Buffer): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isFile() !== true || found.size !== bytes.length) return false;
  return bytes.equals(await naming(path, "read", readFile(path)));
}

let temporary: Promise<string> | undefined;

/** A folder that nobody else can have made, nor can open; it goes with the process. */
async function ownTemporary(): Promise<string> {
  temporary ??= naming(tmpdir(), "write", mkdtemp(join(tmpdir(), "randlora-unpacked-"))).then((path) => {
    process.on("exit", () => rmSync(path, { recursive: true, force: true }));
    return path;
  });
  return await temporary;
}
