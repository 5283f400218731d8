import { join } from "node:path";
import { oneLine } from "../../../files/failure.ts";
import { readWhole } from "../../../files/read-whole.ts";
import { type MatValue, readMat } from "../formats/mat.ts";
import { fileSet, within } from "../datasets/files.ts";
import { type NamedSet, TRAIN_TEST, wrong } from "./types.ts";

const MOST_BYTES = 2 ** 26;

/**
 * Stanford Cars: 8144 and 8041 images, 196 classes. The labels of the test images are not in the devkit, but in
 * cars_test_annos_withlabels.mat beside it.
 */
export const cars: NamedSet = {
  name: "Cars",
  splits: TRAIN_TEST,
  templates: [
    "a photo of a {}.",
    "a photo of the {}.",
    "a photo of my {}.",
    "i love my {}!",
    "a photo of my dirty {}.",
    "a photo of my clean {}.",
    "a photo of my new {}.",
    "a photo of my old {}.",
  ],
  async open(root, split) {
    const folder = join(root, "stanford_cars");
    const devkit = join(folder, "devkit");
    const list =
      split === "train" ? join(devkit, "cars_train_annos.mat") : join(folder, "cars_test_annos_withlabels.mat");
    const meta = join(devkit, "cars_meta.mat");
    const names = await variable(meta, "class_names");
    if (names.kind !== "cells") throw wrong(meta, "class_names is no list");
    const classes = names.items.map((item) => {
      if (item.kind !== "text") throw wrong(meta, "a class name is no text");
      return item.text.replaceAll("_", " ");
    });
    const annotations = await variable(list, "annotations");
    if (annotations.kind !== "structs") throw wrong(list, "annotations are no structs");
    const images = join(folder, split === "train" ? "cars_train" : "cars_test");
    const samples = annotations.items.map(({ fname, class: label }) => {
      if (fname?.kind !== "text" || label?.kind !== "numbers") throw wrong(list, "an image without a name or a class");
      return { file: within(images, fname.text, list), label: (label.data[0] ?? 0) - 1 };
    });
    return fileSet(list, { classes, texts: classes, upright: false }, samples);
  },
};

async function variable(path: string, name: string): Promise<MatValue> {
  const value = readMat(await readWhole(path, MOST_BYTES), oneLine(path)).get(name);
  if (value === undefined) throw wrong(path, `no ${name} in it`);
  return value;
}
