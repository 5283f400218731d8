import { ParquetFile, type RowGroup } from "../../records/parquet-file.ts";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { isJsonObject } from "../../../files/json.ts";
import { classify, type GivenLabel, labelsOf } from "./labels.ts";
import { KEPT_BYTES, RowCache } from "./row-cache.ts";
import { type ImageSet, type Source, textsOf } from "./types.ts";

/** Rows of a file, and where they begin in the set. */
interface Group {
  readonly file: ParquetFile;
  /** The column of images. */
  readonly image: string;
  readonly rows: RowGroup;
  readonly first: number;
}

/** The names of classes, and the number of each image's. */
type Labeled = ReturnType<typeof classify>;

/** What columns are called: CIFAR's have names of their own. */
const IMAGE = ["image", "img"];
const LABEL = ["label", "fine_label"];
const HINT = "images in parquet have the columns image ({bytes, path}) and label";

/**
 * Reads images in the Hub's parquet: `image`, the bytes of an image's file, and `label`, whose names stand in the schema's
 * metadata. Labels are read at once, images a group of rows at a time; groups are kept in memory or
 * in a file.
 *
 * @param paths of the shards, in order
 * @param kept bytes of images that memory has room for
 * @throws {RandloraError} as {@link ParquetFile}, `data` without the columns or for a label that is no class
 */
export async function readParquetImages(
  paths: readonly string[],
  known?: readonly string[],
  kept = KEPT_BYTES,
): Promise<ImageSet> {
  const groups: Group[] = [];
  const given: GivenLabel[] = [];
  let names: readonly string[] | undefined;
  for (const path of paths) {
    const file = await ParquetFile.open(path);
    const { image, label } = columnsOf(file);
    names ??= namesIn(file, label);
    for (const rows of file.groups) {
      groups.push({ file, image, rows, first: given.length });
      const labels = await file.rows(rows, [label]);
      for (const [i, row] of labels.entries()) given.push(givenLabel(row[label], file.name, rows.rowStart + i + 1));
    }
  }
  const path = oneLine(paths[0] ?? "");
  if (given.length === 0) throw new RandloraError("data", `${path}: no images`);
  const { classes, labels } = inOrderOf(named(given, path, names), path, known);
  const cache = new RowCache((group: Group) => readImages(group), kept);
  const files = new Map(groups.map(({ file, image }) => [file, image]));
  const bytes = [...files].reduce((sum, [file, image]) => sum + file.bytesOf(image), 0);
  return {
    path,
    classes,
    texts: textsOf(classes),
    labels,
    upright: true,
    files: paths,
    ...(bytes > kept && { spilled: bytes }),
    source: async (index): Promise<Source> => {
      const group = groups.findLast(({ first }) => first <= index) as Group;
      const row = index - group.first;
      const bytes = await cache.get(group, row);
      const name = `${group.file.name}: row ${group.rows.rowStart + row + 1}`;
      if (bytes === undefined || bytes.length === 0)
        throw new RandloraError("data", `${name}: no bytes of an image`, HINT);
      return { name, from: { bytes } };
    },
  };
}

/** What a file calls the columns. @throws {RandloraError} `data` for a file without them */
export function columnsOf({ name, columns }: Pick<ParquetFile, "name" | "columns">): { image: string; label: string } {
  const [image, label] = [IMAGE, LABEL].map((names) => {
    const found = names.find((column) => columns.includes(column));
    if (found !== undefined) return found;
    throw new RandloraError("data", `${name}: no column ${names[0]} beside ${columns.map(quote).join(", ")}`, HINT);
  }) as [string, string];
  return { image, label };
}

/** Labels of a ClassLabel are places among its names, whatever these are: "1" and "2" may be the names of 0 and 1. */
function named(given: readonly GivenLabel[], path: string, names: readonly string[] | undefined): Labeled {
  if (names === undefined || given.some(({ label }) => typeof label !== "number")) return classify(given, path, names);
  return { classes: names, labels: labelsOf(given, path, names, Number) };
}

/** The same labels among classes that were known before, whose order may be another one. */
function inOrderOf({ classes, labels }: Labeled, path: string, known: readonly string[] | undefined): Labeled {
  if (known === undefined || Bun.deepEquals(known, classes)) return { classes, labels };
  const seen = new Set<string>();
  const twice = classes.find((name) => seen.size === seen.add(name).size);
  if (twice !== undefined) {
    const cause = `two of its classes are called ${quote(twice)}, and other classes are known already`;
    throw new RandloraError("data", `${path}: ${cause}`, "every split must have the same classes in the same order");
  }
  const byName = Array.from(labels, (label, i) => ({ place: `row ${i + 1}`, label: classes[label] ?? "" }));
  return classify(byName, path, known);
}

function givenLabel(label: unknown, name: string, row: number): GivenLabel {
  const place = `row ${row}`;
  if (typeof label === "string" || typeof label === "number") return { place, label };
  if (typeof label === "bigint") return { place, label: Number(label) };
  throw new RandloraError("data", `${name}: ${place}: no label`, HINT);
}

/** A ClassLabel's names: `datasets` writes its features as JSON beside the schema. */
function namesIn(file: ParquetFile, label: string): readonly string[] | undefined {
  const text = file.note("huggingface");
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  for (const key of ["info", "features", label, "names"]) value = isJsonObject(value) ? value[key] : undefined;
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const names: unknown[] = value;
  return names.every((name) => typeof name === "string") ? names : undefined;
}

async function readImages({ file, image, rows }: Group): Promise<Uint8Array[]> {
  // Without this, columns of bytes come as text.
  return (await file.rows(rows, [image], { utf8: false })).map(({ [image]: value }) => {
    const bytes: unknown = isJsonObject(value) ? value["bytes"] : value;
    return bytes instanceof Uint8Array ? bytes : new Uint8Array();
  });
}
