import { join } from "node:path";
import { oneLine } from "../../../files/failure.ts";
import { latin1 } from "../formats/bytes.ts";
import { type Pickled, PickledObject, readPickle } from "../formats/pickle.ts";
import { fromPlanes, pixelSet, readPixels } from "../datasets/pixels.ts";
import type { ImageSet, Split } from "../datasets/types.ts";
import { being, shownAs, withArticles } from "./templates.ts";
import { type NamedSet, TRAIN_TEST, wrong } from "./types.ts";

const SIDE = 32;
const IMAGE_BYTES = 3 * SIDE * SIDE;
const PHOTOS = ["blurry", "black and white", "low contrast", "high contrast", "bad", "good"];
const TEMPLATES = withArticles([
  ...shownAs("photo", ...PHOTOS.map((kind) => `${kind} photo`)),
  ...being("small", "big"),
]);

/** The Python version, as torchvision reads it. */
export const cifar10: NamedSet = {
  name: "CIFAR10",
  splits: TRAIN_TEST,
  templates: TEMPLATES,
  open: (root, split) =>
    openCifar(join(root, "cifar-10-batches-py"), split, {
      train: ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
      test: ["test_batch"],
      labels: "labels",
      meta: "batches.meta",
      names: "label_names",
    }),
};

/** Its 100 fine classes. */
export const cifar100: NamedSet = {
  name: "CIFAR100",
  splits: TRAIN_TEST,
  templates: TEMPLATES,
  open: (root, split) =>
    openCifar(join(root, "cifar-100-python"), split, {
      train: ["train"],
      test: ["test"],
      labels: "fine_labels",
      meta: "meta",
      names: "fine_label_names",
    }),
};

/** What the files are called, and what in them is looked at. */
interface Layout {
  readonly train: readonly string[];
  readonly test: readonly string[];
  readonly labels: string;
  readonly meta: string;
  readonly names: string;
}

async function openCifar(folder: string, split: Split, layout: Layout): Promise<ImageSet> {
  const meta = join(folder, layout.meta);
  const names = listOf((await readDictionary(meta)).get(layout.names));
  if (names === undefined) throw wrong(meta, `no ${layout.names} in it`);
  const classes = names.map((name) => {
    const text = name instanceof Uint8Array ? latin1(name) : name;
    if (typeof text !== "string") throw wrong(meta, "a class name is no text");
    return text;
  });
  const batches: Uint8Array[] = [];
  const labels: number[] = [];
  for (const file of split === "train" ? layout.train : layout.test) {
    const path = join(folder, file);
    const batch = await readDictionary(path);
    const pixels = arrayBytes(batch.get("data"));
    const given = listOf(batch.get(layout.labels));
    if (pixels === undefined || given === undefined) throw wrong(path, `no data and no ${layout.labels} in it`);
    if (pixels.length !== given.length * IMAGE_BYTES) throw wrong(path, "another number of images than of labels");
    for (const label of given) {
      // What else there may be in a pickle can be lists of lists of lists, far too large to be written out.
      if (typeof label !== "number") throw wrong(path, "a label is no number");
      labels.push(label);
    }
    batches.push(pixels);
  }
  const ends: number[] = [];
  for (const batch of batches) ends.push((ends.at(-1) ?? 0) + batch.length / IMAGE_BYTES);
  const planes = { width: SIDE, height: SIDE, order: "rows" } as const;
  return pixelSet(folder, classes, labels, (index) => {
    const batch = ends.findIndex((end) => index < end);
    return fromPlanes(batches[batch] as Uint8Array, (index - (ends[batch - 1] ?? 0)) * IMAGE_BYTES, planes);
  });
}

async function readDictionary(path: string): Promise<ReadonlyMap<string, Pickled>> {
  const value = readPickle(await readPixels(path), oneLine(path));
  if (!(value instanceof Map)) throw wrong(path, "no dictionary");
  return value;
}

function listOf(value: Pickled | undefined): readonly Pickled[] | undefined {
  return Array.isArray(value) ? value : undefined;
}

/** The bytes of a NumPy array in C's order: the last of its state (version, shape, type, Fortran's order, bytes). */
function arrayBytes(value: Pickled | undefined): Uint8Array | undefined {
  const state = value instanceof PickledObject ? listOf(value.state) : undefined;
  const bytes = state?.at(-1);
  return bytes instanceof Uint8Array && state?.at(-2) !== true ? bytes : undefined;
}
