import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { RandloraError } from "../errors.ts";
import { oneLine } from "../files/failure.ts";
import { MAX_SETTINGS_BYTES, readWhole } from "../files/read-whole.ts";
import { decodeUtf8 } from "../files/utf8.ts";
import { writeWhole } from "../files/whole-file.ts";
import type { Adapter } from "./types.ts";

/** The names of a head's rows, in their order: a JSON array beside an adapter that brings the head. */
export const CLASSES_FILE = "classes.json";

/** The text of the file beside an adapter; undefined without one. @throws RandloraError `file`, `format` */
export async function classesText({ file }: Pick<Adapter, "file">): Promise<string | undefined> {
  return await textOf(join(dirname(file), CLASSES_FILE));
}

/**
 * Puts the names beside an adapter's one file, where they do not stand already.
 * @throws RandloraError `file` where others do
 */
export async function writeClassesBeside(file: string, text: string): Promise<void> {
  const path = join(dirname(file), CLASSES_FILE);
  const there = await textOf(path);
  if (there === text) return;
  if (there !== undefined) {
    const hint = "name an --out in a folder of its own";
    throw new RandloraError("file", `${oneLine(path)}: it has the classes of another adapter`, hint);
  }
  await writeWhole(path, text);
}

async function textOf(path: string): Promise<string | undefined> {
  const isThere = await stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
  return isThere ? decodeUtf8(await readWhole(path, MAX_SETTINGS_BYTES), oneLine(path)) : undefined;
}
