import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { RandloraError } from "../../src/files/errors.ts";

const PACKAGE = "dataset-fashion-mnist";
const INSIDE = "usr/share/datasets/fashion-mnist";

/** Fashion-MNIST's classes (arXiv:1708.07747) by label. */
const NAMES = [
  "t-shirt",
  "trouser",
  "pullover",
  "dress",
  "coat",
  "sandal",
  "shirt",
  "sneaker",
  "bag",
  "ankle boot",
] as const;
type Name = (typeof NAMES)[number];

/** What the model has seen, and what it is adapted to. */
export const SEEN = ["t-shirt", "trouser", "sandal", "sneaker", "bag", "ankle boot"] as const satisfies readonly Name[];
export const NEW = ["pullover", "dress", "coat", "shirt"] as const satisfies readonly Name[];

/** Images of each class. */
export interface Amounts {
  /** Of the seen ones, to pre-train on. */
  readonly pretraining: number;
  /** Of the new ones: to train on, to choose learning rates by, and to measure with. */
  readonly training: number;
  readonly choosing: number;
  readonly test: number;
}

/** Folders of class folders. */
export interface Folders {
  readonly pretraining: string;
  /** The same images to train on, `valid` being those to choose by, or those to measure with. */
  readonly choosing: string;
  readonly measuring: string;
}

/** Writes the images of each part below `work`. @param cache where the set is kept once it was fetched */
export async function writeImages(work: string, cache: string, amounts: Amounts): Promise<Folders> {
  const root = await fetchSet(cache);
  const [train, test] = [await openSplit(root, "train"), await openSplit(root, "test")];
  const { pretraining, training, choosing } = amounts;
  const parts: readonly [path: string, set: Split, names: readonly Name[], from: number, count: number][] = [
    ["pretraining/train", train, SEEN, 0, pretraining],
    ["pretraining/valid", test, SEEN, 0, amounts.test],
    ["choosing/train", train, NEW, 0, training],
    ["choosing/valid", train, NEW, training, choosing],
    ["measuring/train", train, NEW, 0, training],
    ["measuring/valid", test, NEW, 0, amounts.test],
  ];
  const data = join(work, "data");
  if (!existsSync(data)) {
    const unfinished = `${data}.part`;
    await rm(unfinished, { recursive: true, force: true });
    for (const [path, set, names, from, count] of parts)
      await writePart(join(unfinished, path), set, names, from, count);
    await rename(unfinished, data);
  }
  return {
    pretraining: join(data, "pretraining"),
    choosing: join(data, "choosing"),
    measuring: join(data, "measuring"),
  };
}

/** The set's files where MNIST's would be: from Debian's package, installed or unpacked in the cache. */
async function fetchSet(cache: string): Promise<string> {
  const root = join(cache, PACKAGE);
  const files = join(root, "MNIST", "raw");
  if (existsSync(files)) return root;
  const work = await mkdtemp(join(tmpdir(), "randlora-fashion-"));
  try {
    let from = join("/", INSIDE);
    if (!existsSync(from)) {
      const run = (...command: string[]) => {
        const { exitCode, stderr } = Bun.spawnSync(command, { cwd: work, stderr: "pipe" });
        const hint = `Fashion-MNIST is Debian's package ${PACKAGE}: install it, or run where apt-get can fetch it`;
        if (exitCode !== 0) throw new RandloraError("file", `${command.join(" ")}: ${stderr.toString().trim()}`, hint);
      };
      run("apt-get", "download", PACKAGE);
      const [archive = ""] = (await readdir(work)).filter((name) => name.endsWith(".deb"));
      run("dpkg-deb", "-x", archive, "unpacked");
      from = join(work, "unpacked", INSIDE);
    }
    await mkdir(dirname(files), { recursive: true });
    await cp(from, `${files}.part`, { recursive: true });
    await rename(`${files}.part`, files);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return root;
}

/** Gray images of 28 × 28 pixels, one behind the other, and the label of each. */
interface Split {
  readonly images: Uint8Array;
  readonly labels: Uint8Array;
}

const SIDE = 28;

/** Reads idx files: a magic number and the sizes, four bytes each, then bytes. */
async function openSplit(root: string, split: "train" | "test"): Promise<Split> {
  const stem = join(root, "MNIST", "raw", split === "train" ? "train" : "t10k");
  const read = async (name: string, header: number): Promise<Uint8Array> => {
    const packed = existsSync(`${stem}-${name}`) ? undefined : await readFile(`${stem}-${name}.gz`);
    return new Uint8Array(packed ? gunzipSync(packed) : await readFile(`${stem}-${name}`)).subarray(header);
  };
  return { images: await read("images-idx3-ubyte", 16), labels: await read("labels-idx1-ubyte", 8) };
}

/** Images number `from` … of each class, as class folders of PGM files. */
async function writePart(
  folder: string,
  set: Split,
  names: readonly Name[],
  from: number,
  count: number,
): Promise<void> {
  const at = new Map(names.map((name) => [NAMES.indexOf(name), 0]));
  for (const name of names) await mkdir(join(folder, name.replaceAll(" ", "_")), { recursive: true });
  for (const [index, label] of set.labels.entries()) {
    const number = at.get(label);
    if (number === undefined) continue;
    at.set(label, number + 1);
    if (number < from || number >= from + count) continue;
    const gray = set.images.subarray(index * SIDE ** 2, (index + 1) * SIDE ** 2);
    const header = new TextEncoder().encode(`P5 ${SIDE} ${SIDE} 255\n`);
    const file = join(folder, (NAMES[label] ?? "").replaceAll(" ", "_"), `${String(number).padStart(5, "0")}.pgm`);
    await Bun.write(file, Buffer.concat([header, gray]));
  }
  for (const [label, number] of at) {
    if (number < from + count)
      throw new RandloraError("usage", `${number} images of ${NAMES[label]}: ${from + count} are asked for`);
  }
}
