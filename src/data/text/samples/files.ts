import { readdir, realpath, stat } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { Contradiction, RandloraError } from "../../../files/errors.ts";
import { naming, oneLine } from "../../../files/failure.ts";
import { ChunkedFile } from "../../records/chunks.ts";

/** What `--data`, `--valid` and `--valid-split` say. */
export interface DataChoice {
  /** A file, or a folder with train.jsonl and perhaps valid.jsonl and test.jsonl, by these or the Hub's names. */
  readonly data: string;
  readonly valid?: string | undefined;
  /** Part of the training data, above 0 and below 1, set aside for validation. */
  readonly validSplit?: number | undefined;
  /** Nothing is tested: several test files in a folder are no matter. */
  readonly withoutTest?: boolean;
}

/** The files of a run. */
export interface DataFiles {
  readonly train: string;
  readonly valid: string | undefined;
  readonly test: string | undefined;
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
/** How the Hub numbers the files of a split: `train-00000-of-00001.parquet`; older names end with a hash. */
const SHARD = /-\d{5}-of-(\d{5})(?:-[0-9a-f]{16})?$/;

/**
 * Finds the data files. A folder's valid.jsonl (validation.jsonl, dev.json, …) is the validation data, unless `--valid` names another file.
 *
 * @throws {RandloraError} `file` for what does not exist, `usage` where two sources of validation data are named, `data`
 *   where training and validation file are the same or hold the same bytes
 */
export async function locateData({ data, valid, validSplit, withoutTest }: DataChoice): Promise<DataFiles> {
  const { isDirectory } = await statOf(data);
  const wanted = { valid: valid === undefined, test: withoutTest !== true };
  const found = isDirectory ? await findInFolder(data, wanted) : { train: data, valid: undefined, test: undefined };
  const chosen = valid ?? found.valid;
  if (validSplit !== undefined && chosen !== undefined) {
    throw new Contradiction(
      ["valid", "validSplit"],
      `--valid-split: the validation data is ${oneLine(chosen)} already`,
      valid === undefined ? "name the training file alone, or leave out --valid-split" : "give one of the two flags",
    );
  }
  // Opening a pipe that somebody put into the folder would wait for ever, and a device has no end.
  for (const file of [found.train, chosen, found.test]) if (file !== undefined) await statOf(file);
  if (chosen !== undefined) await refuseTheSame(found.train, chosen);
  return { ...found, valid: chosen };
}

async function findInFolder(folder: string, wanted: { valid: boolean; test: boolean }): Promise<DataFiles> {
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
  const all = isPlain ? plain : filesWith(EXTENSIONS);
  const find = (stems: readonly string[]): string | undefined => {
    const found = all.filter((name) => isOf(stems, name));
    const [first, second] = found;
    if (second !== undefined) {
      const hint = found.some((name) => shardsOf(name) > 1)
        ? "put the shards into one file, and name it with --data"
        : "remove one, or name the file itself with --data";
      throw new RandloraError("data", `${oneLine(folder)}: both ${first} and ${second} are there`, hint);
    }
    if (first !== undefined && shardsOf(first) > 1) {
      const cause = `${oneLine(join(folder, first))}: only one of ${shardsOf(first)} shards is there`;
      throw new RandloraError("data", cause, "download the others, and put all into one file");
    }
    return first === undefined ? undefined : join(folder, first);
  };
  const train = find(SPLITS.train);
  if (train === undefined) {
    const [other] = all;
    throw new RandloraError(
      "file",
      `${oneLine(folder)}: no train.jsonl (nor .json, .parquet, .csv, .tsv or .txt) in this folder`,
      other === undefined
        ? "--data takes a file, or a folder with train.jsonl and perhaps valid.jsonl"
        : `--data takes a file too: ${oneLine(join(folder, other))}`,
    );
  }
  // Who has an eval.jsonl beside test.jsonl means something else by it.
  const test = SPLITS.test.find((stem) => all.some((name) => isOf([stem], name))) ?? "test";
  return {
    train,
    valid: wanted.valid ? find(SPLITS.valid) : undefined,
    test: wanted.test ? find([test]) : undefined,
  };
}

/** Is it called so, as `data/train-00000-of-00001.parquet` is `train`? */
function isOf(stems: readonly string[], path: string): boolean {
  return stems.includes(basename(path, extname(path)).replace(SHARD, ""));
}

/** Number of files that a split was cut into, by this one's name. */
function shardsOf(path: string): number {
  const [, count] = SHARD.exec(basename(path, extname(path))) ?? [];
  return count === undefined ? 1 : Number(count);
}

async function refuseTheSame(train: string, valid: string): Promise<void> {
  const [a, b] = [await statOf(train), await statOf(valid)];
  if (b.isDirectory) {
    throw new RandloraError("usage", `--valid ${oneLine(valid)}: a folder, not a file`, "name the file in it");
  }
  if (a.path === b.path || (a.inode === b.inode && a.device === b.device && a.inode !== 0n)) {
    throw new RandloraError(
      "data",
      `${oneLine(valid)} is the training file: it cannot be the validation data`,
      SAME_HINT,
    );
  }
  if (a.size === b.size && (await digest(train)) === (await digest(valid))) {
    throw theSame(train, valid);
  }
}

/** Validation data that are the training data. */
export function theSame(train: string, valid: string): RandloraError {
  return new RandloraError(
    "data",
    `${oneLine(valid)} holds the same as the training file ${oneLine(train)}`,
    SAME_HINT,
  );
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
