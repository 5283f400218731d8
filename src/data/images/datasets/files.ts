import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { RandloraError } from "../../../files/errors.ts";
import { naming, oneLine, systemCode } from "../../../files/failure.ts";
import { readWhole } from "../../../files/read-whole.ts";
import { decodeUtf8 } from "../../../files/utf8.ts";
import type { ImageSet, Source } from "./types.ts";

/** Of lists of images; the largest of real sets have some tens of megabytes. */
const MOST_LIST_BYTES = 512 * 2 ** 20;

/** Images of their own files, by label. */
export interface LabeledFile {
  readonly file: string;
  readonly label: number;
}

/** A set of images that are files. */
export function fileSet(
  path: string,
  names: Pick<ImageSet, "classes" | "texts" | "upright">,
  samples: readonly LabeledFile[],
): ImageSet {
  const name = oneLine(path);
  if (samples.length === 0) throw new RandloraError("data", `${name}: no images`);
  return {
    ...names,
    path: name,
    labels: Uint32Array.from(samples, ({ label }) => checkedLabel(label, names.classes.length, name)),
    files: samples.map(({ file }) => file),
    source: (index): Source => {
      const file = samples[index]?.file ?? "";
      return { name: oneLine(file), from: { file } };
    },
  };
}

/** Images of which nobody says what they show. @throws {RandloraError} `data` for none */
export function imageFiles(files: readonly string[]): ImageSet {
  const unknown = { classes: [""], texts: [""], upright: true };
  return fileSet(
    "images",
    unknown,
    files.map((file) => ({ file, label: 0 })),
  );
}

/** A label that is one of `classes`. @throws {RandloraError} `data` */
function checkedLabel(label: number, classes: number, name: string): number {
  if (Number.isInteger(label) && label >= 0 && label < classes) return label;
  throw new RandloraError("data", `${name}: label ${label}, and there are ${classes} classes`);
}

/** Order of names by code points, as Python sorts them. */
export function byCodePoint(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** The names in a folder without those that begin with a dot, in code-point order. */
export async function listFolder(path: string, kind: "files" | "folders"): Promise<string[]> {
  const entries = await naming(path, "read", readdir(path, { withFileTypes: true }));
  const names: string[] = [];
  for (const entry of entries) {
    if (entry.name.startsWith(".")) continue;
    const isFolder = entry.isSymbolicLink() ? await isDirectory(join(path, entry.name)) : entry.isDirectory();
    if (isFolder === (kind === "folders")) names.push(entry.name);
  }
  return names.toSorted(byCodePoint);
}

/** Is there a folder at `path`, after links? */
export async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (thrown) {
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(systemCode(thrown) ?? "")) return false;
    throw thrown;
  }
}

/** Is there a file at `path`, after links? */
export async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (thrown) {
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(systemCode(thrown) ?? "")) return false;
    throw thrown;
  }
}

/** A list's text. @throws {RandloraError} `file`, `format`, `data` naming the file */
export async function readText(path: string): Promise<string> {
  return decodeUtf8(await readWhole(path, MOST_LIST_BYTES), oneLine(path)).replace(/^\uFEFF/, "");
}

/** A list's lines, without white space around them; blank ones are left out. */
export async function readLines(path: string): Promise<string[]> {
  const lines = (await readText(path)).split("\n").map((line) => line.trim());
  return lines.filter((line) => line !== "");
}
