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
  return await textIn(dirname(file));
}

/**
 * Puts the names beside an adapter's one file, where they do not stand already.
 * @throws RandloraError `file` where others do
 */
export async function writeClassesBeside(file: string, text: string): Promise<void> {
  const path = join(dirname(file), CLASSES_FILE);
  const there = await textIn(dirname(file));
  if (there === text) return;
  if (there !== undefined) {
    const hint = "name an --out in a folder of its own";
    throw new RandloraError("file", `${oneLine(path)}: it has the classes of another adapter`, hint);
  }
  await writeWhole(path, text);
}

/** Is there such a file in a folder? */
export async function hasClasses(folder: string): Promise<boolean> {
  return await stat(join(folder, CLASSES_FILE)).then(
    (found) => found.isFile(),
    () => false,
  );
}

async function textIn(folder: string): Promise<string | undefined> {
  if (!(await hasClasses(folder))) return undefined;
  const path = join(folder, CLASSES_FILE);
  return decodeUtf8(await readWhole(path, MAX_SETTINGS_BYTES), oneLine(path));
}
