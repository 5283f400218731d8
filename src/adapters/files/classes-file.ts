import { stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { naming, oneLine } from "../../files/failure.ts";
import { Publication } from "../../files/publish.ts";
import { MAX_SETTINGS_BYTES, readWhole } from "../../files/read-whole.ts";
import { decodeUtf8 } from "../../files/utf8.ts";
import type { Adapter } from "./adapter.ts";

/** The names of a head's rows, in their order: a JSON array beside an adapter that brings the head. */
export const CLASSES_FILE = "classes.json";

/** The text of the file beside an adapter; undefined without one. @throws RandloraError `file`, `format` */
export async function classesText({ file }: Pick<Adapter, "file">): Promise<string | undefined> {
  return await textIn(dirname(file));
}

/**
 * Writes the names to be put beside an adapter's one file: `commit`, before the adapter's, makes them appear. Undefined
 * where they stand there already.
 * @throws RandloraError `file` where others do
 */
export async function beginClassesBeside(file: string, text: string): Promise<Publication | undefined> {
  const path = join(dirname(file), CLASSES_FILE);
  const there = await textIn(dirname(file));
  if (there === text) return undefined;
  if (there !== undefined) {
    const hint = "name an --out in a folder of its own";
    throw new RandloraError("file", `${oneLine(path)}: it has the classes of another adapter`, hint);
  }
  const publication = await Publication.begin(path, { kind: "file" });
  try {
    await naming(path, "write", writeFile(publication.partPath, text));
    return publication;
  } catch (thrown) {
    await publication.abort();
    throw thrown;
  }
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
