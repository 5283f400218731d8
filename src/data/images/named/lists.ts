import { join } from "node:path";
import * as v from "valibot";
import { isJsonObject } from "../../../files/json.ts";
import { byCodePoint, fileSet, type LabeledFile, readLines, readList, within } from "../datasets/files.ts";
import { openClassFolders } from "./class-folders.ts";
import { withArticles } from "./templates.ts";
import { ALL_SPLITS, type NamedSet, TRAIN_TEST, wrong } from "./types.ts";

// Sets that lists of their own divide into splits.

/** Food-101: lists of images by class; the order of the classes is that of their names, not of the file. */
export const food101: NamedSet = {
  name: "Food101",
  splits: TRAIN_TEST,
  templates: ["a photo of {}, a type of food."],
  async open(root, split) {
    const folder = join(root, "food-101");
    const path = join(folder, "meta", `${split}.json`);
    const lists = await readList(path);
    if (!isJsonObject(lists)) throw wrong(path, "no lists by class");
    const names = Object.keys(lists).toSorted(byCodePoint);
    const labels = new Map(names.map((name, label) => [name, label]));
    const samples: LabeledFile[] = [];
    for (const [name, images] of Object.entries(lists)) {
      if (!Array.isArray(images)) throw wrong(path, "a class without a list");
      for (const image of images) {
        samples.push({ file: within(join(folder, "images"), `${image}.jpg`, path), label: labels.get(name) ?? 0 });
      }
    }
    const classes = names.map((name) => name.replaceAll("_", " "));
    return fileSet(path, { classes, texts: classes, upright: false }, samples);
  },
};

/** FGVC Aircraft by variants. It trains on train alone (3334 images), not on trainval. */
export const fgvcAircraft: NamedSet = {
  name: "FGVCAircraft",
  splits: ALL_SPLITS,
  templates: withArticles(["a photo of * {}, a type of aircraft."]),
  async open(root, split) {
    const folder = join(root, "fgvc-aircraft-2013b", "data");
    const classes = await readLines(join(folder, "variants.txt"));
    const labels = new Map(classes.map((name, label) => [name, label]));
    const path = join(folder, `images_variant_${split === "valid" ? "val" : split}.txt`);
    const samples = (await readLines(path)).map((line) => {
      const space = line.indexOf(" ");
      const label = labels.get(line.slice(space + 1));
      if (space < 0 || label === undefined) throw wrong(path, "a line without an image and a known variant");
      return { file: within(join(folder, "images"), `${line.slice(0, space)}.jpg`, path), label };
    });
    return fileSet(path, { classes, texts: classes, upright: false }, samples);
  },
};

/** Oxford-IIIT Pets: trainval and test; classes are the names of the images without their numbers. */
export const pets: NamedSet = {
  name: "OxfordIIITPet",
  splits: TRAIN_TEST,
  templates: ["a photo of a {}, a type of pet."],
  async open(root, split) {
    const folder = join(root, "oxford-iiit-pet");
    const path = join(folder, "annotations", `${split === "train" ? "trainval" : "test"}.txt`);
    const names = new Map<number, string>();
    const samples: LabeledFile[] = [];
    for (const line of await readLines(path)) {
      const [image = "", id = ""] = line.split(/\s+/);
      const label = Number(id) - 1;
      if (!image.includes("_") || !Number.isInteger(label)) throw wrong(path, "a line without an image and a label");
      names.set(label, titleCase(image.slice(0, image.lastIndexOf("_"))));
      samples.push({ file: within(join(folder, "images"), `${image}.jpg`, path), label });
    }
    const classes = [...names].toSorted(([a], [b]) => a - b).map(([, name]) => name);
    return fileSet(path, { classes, texts: classes, upright: false }, samples);
  },
};

/** Python's `str.title` of each part between underscores. */
function titleCase(name: string): string {
  const words = name.toLowerCase().split("_");
  return words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join(" ");
}

/** Caltech-UCSD Birds, four lists of which each line begins with a number. */
export const cub200: NamedSet = {
  name: "CUB200",
  splits: TRAIN_TEST,
  templates: ["a photo of a {}, a type of bird."],
  async open(root, split) {
    const folder = join(root, "CUB_200_2011");
    const path = join(folder, "images.txt");
    const read = async (name: string) =>
      new Map((await readLines(join(folder, name))).map((line) => line.split(" ") as [string, string]));
    const names = await read("classes.txt");
    const classes = [...names.values()].map((name) => name.slice(name.lastIndexOf(".") + 1).replaceAll("_", " "));
    const labels = await read("image_class_labels.txt");
    const parts = await read("train_test_split.txt");
    const samples: LabeledFile[] = [];
    for (const [id, image] of await read("images.txt")) {
      const [label, part] = [labels.get(id), parts.get(id)];
      if (label === undefined || part === undefined) throw wrong(path, `image ${id} has no label or no split`);
      if ((part === "1") === (split === "train")) {
        samples.push({ file: within(join(folder, "images"), image, path), label: Number(label) - 1 });
      }
    }
    return fileSet(path, { classes, texts: classes, upright: false }, samples);
  },
};

const VIEWS = [
  "satellite imagery",
  "aerial imagery",
  "satellite photo",
  "aerial photo",
  "satellite view",
  "aerial view",
];

/** NWPU-RESISC45 with the splits of torchgeo: lists of file names, whatever folder a file lies in. */
export const resisc45: NamedSet = {
  name: "RESISC45",
  splits: ALL_SPLITS,
  templates: ["", "a ", "the "].flatMap((article) => VIEWS.map((view) => `${view} of ${article}{}.`)),
  async open(root, split) {
    const folder = join(root, "resisc45");
    const list = new Set(await readLines(join(folder, `resisc45-${split === "valid" ? "val" : split}.txt`)));
    return await openClassFolders(
      join(folder, "NWPU-RESISC45"),
      (name) => name.replaceAll("_", " "),
      (name) => list.has(name),
    );
  },
};

const SHOWN = ["photo", "video", "example", "demonstration"];
const VERBS = ["", "using ", "doing ", "during ", "performing ", "practicing "];

const Part = v.array(v.tuple([v.string(), v.number(), v.string()]));
const Splits = v.object({ train: Part, val: Part, test: Part });

/** Middle frames of UCF101 with Zhou's split. Classes are named in the order in which the training list meets them. */
export const ucf101: NamedSet = {
  name: "UCF101",
  splits: ALL_SPLITS,
  templates: VERBS.flatMap((verb) => withArticles(SHOWN.map((shown) => `a ${shown} of * person ${verb}{}.`))),
  async open(root, split) {
    const folder = join(root, "UCF-101-midframes");
    const path = join(folder, "split_zhou_UCF101.json");
    const parsed = v.safeParse(Splits, await readList(path));
    if (!parsed.success) throw wrong(path, "no lists of [image, label, name]");
    const classes = [...new Set(parsed.output.train.map(([, , name]) => name))];
    const samples = parsed.output[split === "valid" ? "val" : split].map(([image, label]) => ({
      file: within(folder, image, path),
      label,
    }));
    return fileSet(path, { classes, texts: classes, upright: false }, samples);
  },
};
