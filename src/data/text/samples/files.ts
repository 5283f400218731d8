import { readdir, realpath, stat } from "node:fs/promises";
import { dirname, extname, join, relative } from "node:path";
import { Contradiction, RandloraError } from "../../../files/errors.ts";
import { naming, oneLine } from "../../../files/failure.ts";
import { ChunkedFile } from "../../records/chunks.ts";
import { checkShards, filesAt, isShard, nameOf, splitNameOf } from "../../records/data-files.ts";

/** What `--data`, `--valid` and `--valid-split` say. */
export interface DataChoice {
  /** A file, a pattern of files, or a folder with train.jsonl and perhaps valid.jsonl and test.jsonl, by these or the Hub's names. */
  readonly data: string;
  readonly valid?: string | undefined;
  /** Part of the training data, above 0 and below 1, set aside for validation. */
  readonly validSplit?: number | undefined;
  /** Nothing is tested: several test files in a folder are no matter. */
  readonly withoutTest?: boolean;
}

/** The files of a run: those of a split in the order in which they are read. */
export interface DataFiles {
  readonly train: readonly string[];
  readonly valid: readonly string[] | undefined;
  readonly test: readonly string[] | undefined;
}

const SAME_HINT = "validation on what was trained on says nothing: give other data, or --valid-split 0.1";
const EXTENSIONS = [".jsonl", ".json", ".parquet"] as const;
/** Looked for where there is no training file of the others: beside one they may be anything. */
const PLAIN_EXTENSIONS = [".csv", ".tsv", ".txt"] as const;
/** What splits are called by mlx-lm and on the Hub (`datasets`), the first being what errors and documents say. */
const SPLITS = {
  train: ["train", "training"],
  valid: ["valid", "validation", "val", "dev"],
  test: ["test", "testing", "eval", "evaluation"],
} as const;

/**
 * Finds the data files. A folder's valid.jsonl (validation.jsonl, dev.json, …) is the validation data, unless `--valid` names other
 * files. The files of a pattern are those of a folder where each is named after a split, else all are trained on.
 *
 * @throws {RandloraError} `file` for what does not exist, `usage` where two sources of validation data are named, `data`
 *   where training and validation data have a file in common, or one of the same bytes, and where shards are missing
 */
export async function locateData({ data, valid, validSplit, withoutTest }: DataChoice): Promise<DataFiles> {
  const wanted = { valid: valid === undefined, test: withoutTest !== true };
  const found = await findSplits(data, wanted);
  const chosen = valid === undefined ? found.valid : await filesAt(valid);
  if (validSplit !== undefined && chosen !== undefined) {
    throw new Contradiction(
      ["valid", "validSplit"],
      `--valid-split: the validation data is ${nameOf(chosen)} already`,
      valid === undefined ? "name the training file alone, or leave out --valid-split" : "give one of the two flags",
    );
  }
  // Opening a pipe that somebody put into the folder would wait for ever, and a device has no end.
  for (const file of [...found.train, ...(chosen ?? []), ...(found.test ?? [])]) await statOf(file);
  if (chosen !== undefined) await refuseTheSame(found.train, chosen);
  return { ...found, valid: chosen };
}

/** Which splits are looked for beside the training data. */
interface Wanted {
  readonly valid: boolean;
  readonly test: boolean;
}

async function findSplits(data: string, wanted: Wanted): Promise<DataFiles> {
  const paths = await filesAt(data);
  const [path = data] = paths;
  if (paths.length === 1 && (await statOf(path)).isDirectory) return await findInFolder(path, wanted);
  const isNamed = paths.every((file) => Object.values(SPLITS).some((stems) => isOf(stems, file)));
  const isListing = paths.length > 1 && isNamed && paths.some((file) => isOf(SPLITS.train, file));
  return isListing ? findAmong(data, paths, wanted) : { train: paths, valid: undefined, test: undefined };
}

async function findInFolder(folder: string, wanted: Wanted): Promise<DataFiles> {
  const names = await naming(folder, "read", readdir(folder));
  const isTrain = (name: string) =>
    EXTENSIONS.some((extension) => name.endsWith(extension)) && isOf(SPLITS.train, name);
  // A copy of a repository on the Hub has its files in data/; beside a file to train on, data/ is something else.
  const inside = names.some(isTrain) ? [] : await readdir(join(folder, "data")).catch((): string[] => []);
  const sorted = [...names, ...inside.map((name) => join("data", name))].toSorted();
  const filesWith = (extensions: readonly string[]) =>
    extensions.flatMap((extension) => sorted.filter((name) => name.endsWith(extension)));
  const plain = filesWith(PLAIN_EXTENSIONS);
  const isPlain = !sorted.some(isTrain) && plain.some((name) => isOf(SPLITS.train, name));
  const all = (isPlain ? plain : filesWith(EXTENSIONS)).map((name) => join(folder, name));
  const found = findAmong(folder, all, wanted);
  for (const files of [found.train, found.valid ?? [], found.test ?? []]) if (files.some(isShard)) checkShards(files);
  return found;
}

/** @param place the folder or the pattern, for errors */
function findAmong(place: string, all: readonly string[], wanted: Wanted): DataFiles {
  const find = (stems: readonly string[]): readonly string[] | undefined => {
    const found = all.filter((path) => isOf(stems, path));
    const [first, ...more] = found;
    if (first === undefined) return undefined;
    const kind = (path: string) => [dirname(path), splitNameOf(path), extname(path), isShard(path)].join();
    const other = more.find((path) => !isShard(path) || kind(path) !== kind(first));
    if (other !== undefined) {
      const both = [first, other].map((path) => oneLine(relative(place, path))).join(" and ");
      throw new RandloraError(
        "data",
        `${oneLine(place)}: both ${both} are there`,
        "remove one, or name the file itself with --data",
      );
    }
    return found;
  };
  const train = find(SPLITS.train);
  if (train === undefined) {
    const [other] = all;
    throw new RandloraError(
      "file",
      `${oneLine(place)}: no train.jsonl (nor .json, .parquet, .csv, .tsv or .txt) in this folder`,
      other === undefined
        ? "--data takes a file, or a folder with train.jsonl and perhaps valid.jsonl"
        : `--data takes a file too: ${oneLine(other)}`,
    );
  }
  // Who has an eval.jsonl beside test.jsonl means something else by it.
  const test = SPLITS.test.find((stem) => all.some((path) => isOf([stem], path))) ?? "test";
  return {
    train,
    valid: wanted.valid ? find(SPLITS.valid) : undefined,
    test: wanted.test ? find([test]) : undefined,
  };
}

/** Is it called so, as `data/train-00000-of-00001.parquet` is `train`? */
function isOf(stems: readonly string[], path: string): boolean {
  return stems.includes(splitNameOf(path));
}

async function refuseTheSame(train: readonly string[], valid: readonly string[]): Promise<void> {
  const own = await Promise.all(train.map(async (path) => ({ name: path, ...(await statOf(path)) })));
  for (const path of valid) {
    const b = await statOf(path);
    if (b.isDirectory) {
      throw new RandloraError("usage", `--valid ${oneLine(path)}: a folder, not a file`, "name the file in it");
    }
    for (const a of own) {
      if (a.path === b.path || (a.inode === b.inode && a.device === b.device && a.inode !== 0n)) {
        throw new RandloraError(
          "data",
          `${oneLine(path)} is the training file: it cannot be the validation data`,
          SAME_HINT,
        );
      }
      if (a.size === b.size && (await digest(a.name)) === (await digest(path))) throw theSame([a.name], [path]);
    }
  }
}

/** Validation data that are the training data. */
export function theSame(train: readonly string[], valid: readonly string[]): RandloraError {
  return new RandloraError("data", `${nameOf(valid)} holds the same as the training file ${nameOf(train)}`, SAME_HINT);
}

interface FileIdentity {
  /** Without symbolic links. */
  readonly path: string;
  readonly device: bigint;
  readonly inode: bigint;
  readonly size: bigint;
  readonly isDirectory: boolean;
}

async function statOf(path: string): Promise<FileIdentity> {
  const status = await naming(path, "read", stat(path, { bigint: true }));
  if (!status.isFile() && !status.isDirectory()) {
    const hint = "write it to a file first: a run that is resumed reads its data again";
    const kind = status.isFIFO() || status.isSocket() ? "pipe" : "device";
    throw new RandloraError("file", `cannot read ${oneLine(path)}: it is a ${kind}, not a file`, hint);
  }
  return {
    path: await naming(path, "read", realpath(path)),
    device: status.dev,
    inode: status.ino,
    size: status.size,
    isDirectory: status.isDirectory(),
  };
}

async function digest(path: string): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  await using file = await ChunkedFile.open(path);
  for await (const chunk of file.chunks()) hash.update(chunk);
  return hash.digest("hex");
}
