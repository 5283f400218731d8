import { RandloraError } from "../../../files/errors.ts";
import { naming, oneLine, quote } from "../../../files/failure.ts";
import { byCodePoint, fileSet, readText } from "./files.ts";
import { realpath } from "node:fs/promises";
import { extname, isAbsolute, join, relative, sep } from "node:path";
import { readRecords } from "../../records/records.ts";
import { parseCsv } from "../../records/csv.ts";
import { type ImageSet, textsOf } from "./types.ts";

/** Whence classes are known before a label is read. */
export const KNOWN_CLASSES = "known are the classes of the training data, or those of the head that was trained";

/** A whole number from 0, as it is usually written: "007" is a name. */
const NUMBER = /^(?:0|[1-9]\d*)$/;

/** A label as a record has it, and where that record stands. */
export interface GivenLabel {
  readonly place: string;
  readonly label: string | number;
}

/**
 * The classes of labels, and the number of each label's class. Numbers from 0 are the classes' own; other numbers (4011,
 * 4012: codes of some kind) are names, in the order of the numbers, and texts are names in code-point order.
 *
 * @param name of the file, fit to be printed
 * @param known the names and order of the classes, where something says them
 * @throws {RandloraError} `data` naming the place of a label that is no class
 */
export function classify(
  given: readonly GivenLabel[],
  name: string,
  known?: readonly string[],
): { readonly classes: readonly string[]; readonly labels: Uint32Array } {
  const isNumeric = given.every(({ label }) => typeof label === "number" || NUMBER.test(label));
  const classes = known ?? (isNumeric ? numbered(given) : [...distinct(given)].toSorted(byCodePoint));
  const numbers = new Map(classes.map((text, i) => [text, i]));
  // Where classes are called by numbers, a number that is none of them is no place among them either.
  const isPlace = isNumeric && !classes.every((text) => NUMBER.test(text));
  const numberOf = (label: string | number) => numbers.get(String(label)) ?? (isPlace ? Number(label) : -1);
  return { classes, labels: labelsOf(given, name, classes, numberOf) };
}

/**
 * The number of each label's class.
 * @param name of the file, fit to be printed
 * @throws {RandloraError} `data` naming the place of a label that is no class
 */
export function labelsOf(
  given: readonly GivenLabel[],
  name: string,
  { length }: readonly string[],
  numberOf: (label: string | number) => number,
): Uint32Array {
  return Uint32Array.from(given, ({ place, label }) => {
    const number = numberOf(label);
    if (Number.isInteger(number) && number >= 0 && number < length) return number;
    const found = typeof label === "number" ? String(label) : quote(label);
    throw new RandloraError(
      "data",
      `${name}: ${place}: label ${found} is none of the ${length} classes`,
      KNOWN_CLASSES,
    );
  });
}

/** "0", "1", … up to the largest, where 0 and at least half of them occur; else those that occur. */
function numbered(given: readonly GivenLabel[]): string[] {
  const found = distinct(given);
  const largest = given.reduce((most, { label }) => Math.max(most, Number(label)), -1);
  if (found.has("0") && largest < 2 * found.size) return Array.from({ length: largest + 1 }, (_, i) => String(i));
  return [...found].filter((text) => NUMBER.test(text)).toSorted((a, b) => Number(a) - Number(b));
}

function distinct(given: readonly GivenLabel[]): Set<string> {
  return new Set(given.map(({ label }) => String(label)));
}

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
