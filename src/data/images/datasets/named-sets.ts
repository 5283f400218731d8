import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import sets from "./named-sets.json" with { type: "json" };
import { type ImageSet, textsOf } from "./types.ts";

/** One of the sets of the paper's vision-language experiments: what its classes are called, and its prompts. */
export interface NamedSet {
  /** Prompts for its classes, `{}` the class (CLIP, data/prompts.md). */
  readonly prompts: readonly string[];
  /** Names of the classes by their numbers from 0. */
  readonly classes?: readonly string[];
  /** Data always have all classes, in this order, whatever they are called there (WordNet ids, codes of countries). */
  readonly ordered?: boolean;
  /** Prompts have these names in place of those in the data. */
  readonly renamed?: Readonly<Record<string, string>>;
  /** Prompts have spaces in place of underscores. */
  readonly spaced?: boolean;
}

/** By name, as the paper's code spells it. */
export const NAMED_SETS: Readonly<Record<string, NamedSet>> = sets;

/** The set of this name, whatever its case. @throws {RandloraError} `usage` for another name */
export function namedSet(name: string): NamedSet {
  const found = Object.entries(NAMED_SETS).find(([known]) => known.toLowerCase() === name.toLowerCase());
  if (found !== undefined) return found[1];
  const names = Object.keys(NAMED_SETS).join(", ");
  throw new RandloraError("usage", `--dataset ${quote(name)}: not a known set`, `known are ${names}`);
}

/**
 * The set with the names that the paper's code has for its classes. Images are not turned, as in torchvision's sets.
 * @throws RandloraError `data` for classes that are not those of the set
 */
export function named({ classes: names, ordered, renamed = {}, spaced }: NamedSet, set: ImageSet): ImageSet {
  const { classes: found, path } = set;
  const isNumbered = found.every((name) => /^\d+$/.test(name));
  if (names === undefined || !(ordered === true || isNumbered)) {
    const classes = found.map((name) => (Object.hasOwn(renamed, name) ? (renamed[name] ?? name) : name));
    return { ...set, classes, texts: spaced === true ? textsOf(classes) : classes, upright: false };
  }
  if (!isNumbered && found.length !== names.length) {
    throw new RandloraError("data", `${path}: ${found.length} classes, and the set has ${names.length}`);
  }
  const last = names.length - 1;
  if (isNumbered && found.some((name, label) => label > last || Number(name) !== label)) {
    const cause = `its classes are the numbers ${found.slice(0, 3).join(", ")} …, not 0 to ${last} in their order`;
    const hint = `name class folders from ${"0".repeat(String(last).length)} to ${last}, or by their classes`;
    throw new RandloraError("data", `${path}: ${cause}`, hint);
  }
  return { ...set, classes: names, texts: names, upright: false };
}
