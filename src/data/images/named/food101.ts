import { join } from "node:path";
import { isJsonObject } from "../../../files/json.ts";
import { byCodePoint, fileSet, type LabeledFile, readList, within } from "../datasets/files.ts";
import { type NamedSet, TRAIN_TEST, wrong } from "./types.ts";

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
