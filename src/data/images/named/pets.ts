import { join } from "node:path";
import { fileSet, type LabeledFile, readLines, within } from "../datasets/files.ts";
import { type NamedSet, TRAIN_TEST, wrong } from "./types.ts";

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
