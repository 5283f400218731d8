import { join } from "node:path";
import { fileSet, type LabeledFile, readLines, within } from "../datasets/files.ts";
import { type NamedSet, TRAIN_TEST, wrong } from "./types.ts";

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
