import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { RandloraError } from "../../errors.ts";
import { naming, oneLine } from "../../files/failure.ts";
import { ChunkedFile } from "../../data/chunks.ts";

/** What `--data`, `--valid` and `--valid-split` say. */
export interface DataChoice {
  /** A file, or a folder with train.jsonl and perhaps valid.jsonl and test.jsonl. */
  readonly data: string;
  readonly valid?: string | undefined;
  /** Part of the training data, above 0 and below 1, set aside for validation. */
  readonly validSplit?: number | undefined;
}

/** The files of a run. */
export interface DataFiles {
  readonly train: string;
  readonly valid: string | undefined;
  readonly test: string | undefined;
}

const SAME_HINT = "validation on what was trained on says nothing: give other data, or --valid-split 0.1";
const EXTENSIONS = [".jsonl", ".json", ".parquet"] as const;

/**
 * Finds the data files. A folder's valid.jsonl is the validation data, unless `--valid` names another file.
 *
 * @throws {RandloraError} `file` for what does not exist, `usage` where two sources of validation data are named, `data`
 *   where training and validation file are the same or hold the same bytes
 */
export async function locateData({ data, valid, validSplit }: DataChoice): Promise<DataFiles> {
  const { isDirectory } = await statOf(data);
  const found = isDirectory ? await findInFolder(data) : { train: data, valid: undefined, test: undefined };
  const chosen = valid ?? found.valid;
  if (validSplit !== undefined && chosen !== undefined) {
    throw new RandloraError(
      "usage",
      `--valid-split: the validation data is ${oneLine(chosen)} already`,
      valid === undefined ? "name the training file alone, or leave out --valid-split" : "give one of the two flags",
    );
  }
  // Opening a pipe that somebody put into the folder would wait for ever, and a device has no end.
  for (const file of [found.train, chosen, found.test]) if (file !== undefined) await statOf(file);
  if (chosen !== undefined) await refuseTheSame(found.train, chosen);
  return { ...found, valid: chosen };
}

async function findInFolder(folder: string): Promise<DataFiles> {
  const names = new Set(await naming(folder, "read", readdir(folder)));
  const find = (stem: string): string | undefined => {
    const [first, second] = EXTENSIONS.map((extension) => stem + extension).filter((name) => names.has(name));
    if (second !== undefined) {
      throw new RandloraError(
        "data",
        `${oneLine(folder)}: both ${first} and ${second} are there`,
        "remove one, or name the file itself with --data",
      );
    }
    return first === undefined ? undefined : join(folder, first);
  };
  const train = find("train");
  if (train === undefined) {
    const others = [...names].filter((name) => EXTENSIONS.some((extension) => name.endsWith(extension)));
    throw new RandloraError(
      "file",
      `${oneLine(folder)}: no train.jsonl (nor .json, nor .parquet) in this folder`,
      others[0] === undefined
        ? "--data takes a file, or a folder with train.jsonl and perhaps valid.jsonl"
        : `--data takes a file too: ${oneLine(join(folder, others[0]))}`,
    );
  }
  return { train, valid: find("valid"), test: find("test") };
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
