import { realpath } from "node:fs/promises";
import { extname, isAbsolute, join, relative, sep } from "node:path";
import { RandloraError } from "../../../files/errors.ts";
import { naming, oneLine, quote } from "../../../files/failure.ts";
import { readRecords } from "../../records/records.ts";
import { parseCsv } from "../../records/csv.ts";
import { fileSet, readText } from "./files.ts";
import { classify, type GivenLabel } from "./labels.ts";
import { type ImageSet, textsOf } from "./types.ts";

/**
 * Reads a list of images, CSV or JSON lines, with `path` (inside the list's folder) and `label` (a name, or a number
 * from 0).
 *
 * @param folder that the paths are inside of
 * @throws {RandloraError} `file` when it cannot be read, `data` naming the line of a path outside, a missing field or a
 *   label that is no class
 */
export async function readManifest(path: string, folder: string, known?: readonly string[]): Promise<ImageSet> {
  const name = oneLine(path);
  const given: GivenLabel[] = [];
  const files: string[] = [];
  const root = await naming(folder, "read", realpath(folder));
  const add = (place: string, fields: Readonly<Record<string, unknown>>) => {
    const fail = (problem: string): never => {
      throw new RandloraError("data", `${name}: ${place}: ${problem}`, "each line has the columns path and label");
    };
    const { path: file, label } = fields;
    if (typeof file !== "string" || file === "") return fail("no path");
    if ((typeof label !== "string" && typeof label !== "number") || label === "") return fail("no label");
    if (!isInside(root, join(root, file)) || isAbsolute(file)) {
      return fail(`${quote(file)} is outside of the list's folder`);
    }
    files.push(join(root, file));
    given.push({ place, label });
  };
  if (extname(path) === ".csv") {
    for (const { line, fields } of parseCsv(await readText(path), name)) add(`line ${line}`, fields);
  } else for await (const { place, fields } of readRecords(path, ["path", "label"])) add(place, fields);
  const { classes, labels } = classify(given, name, known);
  const set = fileSet(
    path,
    { classes, texts: textsOf(classes), upright: true },
    files.map((file, i) => ({ file, label: labels[i] ?? 0 })),
  );
  return { ...set, source: async (index) => inside(root, files[index] ?? "", name) };
}

/** A link inside the folder may still lead out of it. */
async function inside(root: string, file: string, name: string) {
  const real = await naming(file, "read", realpath(file));
  if (isInside(root, real)) return { name: oneLine(file), from: { file: real } };
  throw new RandloraError("data", `${name}: ${quote(relative(root, file))} leads out of the list's folder`);
}

function isInside(root: string, path: string): boolean {
  const way = relative(root, path);
  return way !== "" && way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}
