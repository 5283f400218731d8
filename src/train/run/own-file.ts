import { type FileHandle, lstat, open } from "node:fs/promises";
import { RandloraError } from "../../files/errors.ts";
import { naming, oneLine } from "../../files/failure.ts";

/**
 * Opens or makes a file that a run appends to. A run may come from elsewhere: a link in it would have another file cut and
 * written, and a pipe would wait for ever.
 * @throws RandloraError `file`
 */
export async function openOwnFile(path: string): Promise<FileHandle> {
  const found = await lstat(path).catch(() => undefined); // what cannot be looked at cannot be opened either
  if (found !== undefined && !found.isFile()) {
    throw new RandloraError("file", `${oneLine(path)} is a link, or no file`, "remove it: the run makes its own");
  }
  return await naming(path, "write", open(path, "a+"));
}
