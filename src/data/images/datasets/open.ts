import { basename, dirname, extname, join } from "node:path";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine } from "../../../files/failure.ts";
import { namedSet } from "../named/index.ts";
import { fileSet, isDirectory, isFile, listFolder } from "./files.ts";
import { readClassFolders } from "./folders.ts";
import { readManifest } from "./manifest.ts";
import { readParquetImages } from "./parquet.ts";
import { type ImageSet, type Split, textsOf } from "./types.ts";

export interface ImageChoice {
  /** `--data`: a folder. */
  readonly data: string;
  readonly split: Split;
  /** `--dataset`: one of the paper's sets, in its own layout inside `data`. */
  readonly dataset?: string | undefined;
  /** The names and order of the classes, where a head or another split has decided them. */
  readonly classes?: readonly string[] | undefined;
}

/** What a split is called, in folders and in files of the Hub. */
const NAMES: Readonly<Record<Split, readonly string[]>> = {
  train: ["train"],
  valid: ["valid", "val", "validation"],
  test: ["test"],
};
/** The Hub's names of shards; older ones end with a hash. */
const SHARD = /^(.+)-(\d{5})-of-(\d{5})(?:-[0-9a-f]{16})?\.parquet$/;

/**
 * Opens a split of a folder of images: class folders (`train/CLASS/*`), a list (`train.csv`, `train.jsonl`), or parquet
 * (`train.parquet`, `data/train-00000-of-00001.parquet`); or of a set by name. Images are not read yet.
 *
 * @returns undefined where the folder, or the set, has no such split
 * @throws {RandloraError} `usage` for an unknown set, `data` where a split is there twice, and as what reads it
 */
export async function openImages(choice: ImageChoice): Promise<ImageSet | undefined> {
  const { data, split, dataset, classes } = choice;
  if (dataset !== undefined) {
    const named = namedSet(dataset);
    return named.splits.includes(split) ? checkClasses(await named.open(data, split), classes) : undefined;
  }
  const [found, other] = await placesOf(choice);
  if (found === undefined || other === undefined) return await found?.open();
  const paths = [found, other].map(({ path }) => oneLine(path)).join(" and ");
  throw new RandloraError("data", `${oneLine(data)}: its ${split} split is there twice: ${paths}`, "remove one");
}

/** Has a folder, or a set by name, such a split? @throws {RandloraError} `usage` for an unknown set, `file` */
export async function hasSplit(choice: Omit<ImageChoice, "classes">): Promise<boolean> {
  const { dataset, split } = choice;
  if (dataset !== undefined) return namedSet(dataset).splits.includes(split);
  return (await placesOf(choice)).length > 0;
}

/** Where a split may lie. */
interface Place {
  readonly path: string;
  readonly open: () => Promise<ImageSet>;
}

/** Every place in a folder that has images of the split. */
async function placesOf({ data, split, classes }: ImageChoice): Promise<readonly Place[]> {
  if (!(await isDirectory(data)))
    throw new RandloraError("file", `${oneLine(data)}: no such folder`, "--data takes a folder of images");
  const found: Place[] = [];
  const add = (path: string, open: () => Promise<ImageSet>) => found.push({ path, open });
  const inside = (await isDirectory(join(data, "data"))) ? await listFolder(join(data, "data"), "files") : [];
  for (const name of NAMES[split]) {
    const before = found.length;
    for (const list of [`${name}.csv`, `${name}.jsonl`].map((file) => join(data, file))) {
      if (await isFile(list)) add(list, () => readManifest(list, data, classes));
    }
    const folder = join(data, name);
    // A folder without folders may hold the images that a list beside it names.
    const isListed = async () => found.length > before && (await listFolder(folder, "folders")).length === 0;
    if ((await isDirectory(folder)) && !(await isListed())) add(folder, () => openFolders(folder, classes));
    const single = join(data, `${name}.parquet`);
    if (await isFile(single)) add(single, () => readParquetImages([single], classes));
    const shards = inside.filter((file) => SHARD.exec(file)?.[1] === name).map((file) => join(data, "data", file));
    if (shards[0] !== undefined) {
      add(shards[0], async () => {
        refuseMissing(shards);
        return await readParquetImages(shards, classes);
      });
    }
  }
  return found;
}

/** @throws {RandloraError} `data` where shards are missing that the names of the others promise, or are of two sets */
function refuseMissing(shards: readonly string[]): void {
  const [first = ""] = shards;
  const parts = shards.map((path) => (SHARD.exec(basename(path)) ?? []).slice(2).map(Number));
  const counts = new Set(parts.map(([, count]) => count));
  const fail = (problem: string, hint: string): never => {
    throw new RandloraError("data", `${oneLine(first)}: ${problem}`, hint);
  };
  if (counts.size > 1) fail(`shards of ${[...counts].join(" and of ")} beside each other`, "remove those of one set");
  const [count = 0] = counts;
  const there = new Set(parts.map(([index]) => index));
  const missing = Array.from({ length: count }, (_, index) => index).filter((index) => !there.has(index));
  const [absent = 0] = missing;
  const name = basename(first).replace(SHARD, `$1-${String(absent).padStart(5, "0")}-of-$3.parquet`);
  if (missing.length > 0)
    fail(`${missing.length} of ${count} shards are missing, the first: ${name}`, "fetch the set again");
}

/**
 * Opens images of known classes that are no split of a folder: a folder of class folders, a list or a parquet file.
 * @throws {RandloraError} `file` where nothing is there, and as what reads it
 */
export async function openImagePart(path: string, classes: readonly string[]): Promise<ImageSet> {
  if (await isDirectory(path)) return await openFolders(path, classes);
  if (!(await isFile(path))) throw new RandloraError("file", `${oneLine(path)}: no such file or folder`);
  if (extname(path) === ".parquet") return await readParquetImages([path], classes);
  return await readManifest(path, dirname(path), classes);
}

async function openFolders(folder: string, known: readonly string[] | undefined): Promise<ImageSet> {
  const { classes, samples } = await readClassFolders(folder, known);
  const seen = new Set(samples.map(({ label }) => label));
  for (const [label, name] of classes.entries()) {
    if (seen.has(label) || !(await isDirectory(join(folder, name)))) continue;
    const hint = "images are JPEG, PNG, WebP, GIF and PPM files; remove the folder, or fill it";
    throw new RandloraError("data", `${oneLine(join(folder, name))}: no images in it`, hint);
  }
  return fileSet(folder, { classes, texts: textsOf(classes), upright: true }, samples);
}

/** A set by name has its own classes: those that were decided before must be the same. */
function checkClasses(set: ImageSet, known: readonly string[] | undefined): ImageSet {
  if (known === undefined || (known.length === set.classes.length && known.every((name, i) => name === set.classes[i])))
    return set;
  throw new RandloraError(
    "data",
    `${set.path}: its ${set.classes.length} classes are not the ${known.length} that are known`,
    "the head was trained on other classes",
  );
}
