import { dirname, extname, join } from "node:path";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { checkShards, filesAt, isShard, splitNameOf } from "../../records/data-files.ts";
import { named, namedSet } from "./named-sets.ts";
import { fileSet, isDirectory, isFile, type LabeledFile, listFolder } from "./files.ts";
import { KNOWN_CLASSES, readManifest } from "./labels.ts";
import { readParquetImages } from "./parquet.ts";
import { type ImageSet, type Split, textsOf } from "./types.ts";

export interface ImageChoice {
  /** `--data`: a folder, or parquet files by a pattern. */
  readonly data: string;
  readonly split: Split;
  /** `--dataset`: one of the paper's sets, whose names and prompts are known. */
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

/**
 * Opens a split of a folder of images: class folders (`train/CLASS/*`), a list (`train.csv`, `train.jsonl`), or parquet
 * (`train.parquet`, `data/train-00000-of-00001.parquet`, or a pattern of such files); or of a set by name. Images are not read yet.
 *
 * @returns undefined where the folder, or the set, has no such split
 * @throws {RandloraError} `usage` for an unknown set, `data` where a split is there twice, and as what reads it
 */
export async function openImages(choice: ImageChoice): Promise<ImageSet | undefined> {
  const { data, split, dataset, classes } = choice;
  if (dataset !== undefined) {
    const known = namedSet(dataset);
    const set = await openImages({ data, split, classes: (known.classes ?? known.renamed) ? undefined : classes });
    return set && checkClasses(named(known, set), classes);
  }
  const [found, other] = await placesOf(choice);
  if (found === undefined || other === undefined) return await found?.open();
  const paths = [found, other].map(({ path }) => oneLine(path)).join(" and ");
  throw new RandloraError("data", `${oneLine(data)}: its ${split} split is there twice: ${paths}`, "remove one");
}

/** Has a folder, or a set by name, such a split? @throws {RandloraError} `usage` for an unknown set, `file` */
export async function hasSplit(choice: Omit<ImageChoice, "classes">): Promise<boolean> {
  if (choice.dataset !== undefined) namedSet(choice.dataset);
  return (await placesOf(choice)).length > 0;
}

/** Where a split may lie. */
interface Place {
  readonly path: string;
  readonly open: () => Promise<ImageSet>;
}

/** Every place in a folder that has images of the split. */
async function placesOf({ data, split, classes }: ImageChoice): Promise<readonly Place[]> {
  const paths = await filesAt(data);
  const isFolder = await isDirectory(data);
  const inside = isFolder ? [...(await pathsIn(data)), ...(await pathsIn(join(data, "data")))] : paths;
  // Of files that are named one by one or by a pattern, those that are not called after splits are trained on.
  const isNamed = isFolder || paths.every((path) => Object.values(NAMES).flat().includes(splitNameOf(path)));
  const isOf = (name: string, path: string) => (isNamed ? splitNameOf(path) === name : name === "train");
  const found: Place[] = [];
  const add = (path: string, open: () => Promise<ImageSet>) => found.push({ path, open });
  for (const name of NAMES[split]) {
    const before = found.length;
    for (const list of [`${name}.csv`, `${name}.jsonl`].map((file) => join(data, file))) {
      if (await isFile(list)) add(list, () => readManifest(list, data, classes));
    }
    const folder = join(data, name);
    // A folder without folders may hold the images that a list beside it names.
    const isListed = async () => found.length > before && (await listFolder(folder, "folders")).length === 0;
    if ((await isDirectory(folder)) && !(await isListed())) add(folder, () => openFolders(folder, classes));
    const tables = inside.filter((path) => extname(path) === ".parquet" && isOf(name, path));
    for (const files of Map.groupBy(tables, (path) => isNamed && [dirname(path), isShard(path)].join()).values()) {
      const [first = ""] = files;
      add(first, async () => {
        if (isFolder && isShard(first)) checkShards(files);
        return await readParquetImages(files, classes);
      });
    }
  }
  return found;
}

/**
 * Opens images of known classes that are no split of a folder: a folder of class folders, a list, parquet files.
 * @throws {RandloraError} `file` where nothing is there, and as what reads it
 */
export async function openImagePart(path: string, classes: readonly string[]): Promise<ImageSet> {
  const paths = await filesAt(path);
  if (await isDirectory(path)) return await openFolders(path, classes);
  if (paths.every((file) => extname(file) === ".parquet")) return await readParquetImages(paths, classes);
  return await readManifest(path, dirname(path), classes);
}

async function pathsIn(folder: string): Promise<string[]> {
  if (!(await isDirectory(folder))) return [];
  return (await listFolder(folder, "files")).map((name) => join(folder, name));
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

/** What is looked for in a class folder: by name, because there may be anything beside the images. */
const IMAGES = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".ppm", ".pgm"];

interface ClassFolders {
  /** The folders' names, in code-point order. */
  readonly classes: readonly string[];
  /** By class, then by name. */
  readonly samples: readonly LabeledFile[];
}

/**
 * Finds the images of a folder that has one folder a class, as torchvision's ImageFolder does; names that begin with a
 * dot are ignored.
 *
 * @param classes the names and order of the classes, where they are known already
 * @throws {RandloraError} `file` when it cannot be read, `data` without class folders, and for one that is not in `classes`
 */
async function readClassFolders(root: string, classes?: readonly string[]): Promise<ClassFolders> {
  const folders = await listFolder(root, "folders");
  if (folders.length === 0) {
    throw new RandloraError(
      "data",
      `${oneLine(root)}: no class folders in it`,
      "each class has a folder of its images",
    );
  }
  const known = classes ?? folders;
  const labels = new Map(known.map((name, label) => [name, label]));
  const samples: LabeledFile[] = [];
  for (const folder of folders) {
    const label = labels.get(folder);
    if (label === undefined) {
      throw new RandloraError(
        "data",
        `${oneLine(root)}: ${quote(folder)} is none of the ${known.length} known classes`,
        KNOWN_CLASSES,
      );
    }
    for (const name of await listFolder(join(root, folder), "files")) {
      if (IMAGES.includes(extname(name).toLowerCase())) samples.push({ file: join(root, folder, name), label });
    }
  }
  return { classes: known, samples };
}
