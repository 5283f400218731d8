import { RandloraError } from "../../errors.ts";
import { quote } from "../../files/failure.ts";
import { byCodePoint } from "./files.ts";

/** Whence classes are known before a label is read. */
export const KNOWN_CLASSES = "known are the classes of the training data, or those of the head that was trained";

/** A label as a record has it, and where that record stands. */
export interface GivenLabel {
  readonly place: string;
  readonly label: string | number;
}

/**
 * The classes of labels, and the number of each label's class. Numbers are the labels themselves; texts are names, in
 * code-point order.
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
  const numeric = given.every(({ label }) => typeof label === "number" || /^\d+$/.test(label));
  const classes = known ?? (numeric ? numbered(given) : [...new Set(given.map(({ label }) => String(label)))]);
  if (known === undefined && !numeric) (classes as string[]).sort(byCodePoint);
  const numbers = new Map(classes.map((text, i) => [text, i]));
  const numberOf = (label: string | number) => numbers.get(String(label)) ?? (numeric ? Number(label) : -1);
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

/** "0", "1", … up to the largest. */
function numbered(given: readonly GivenLabel[]): string[] {
  const largest = given.reduce((most, { label }) => Math.max(most, Number(label)), -1);
  return Array.from({ length: Math.min(largest, 1_000_000) + 1 }, (_, i) => String(i));
}
