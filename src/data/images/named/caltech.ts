import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { naming } from "../../../files/failure.ts";
import { torchRandperm } from "../../../compute/random/randperm.ts";
import { fileSet, type LabeledFile, listFolder } from "../datasets/files.ts";
import type { ImageSet, Split } from "../datasets/types.ts";
import { madeAs, shownAs, withArticles } from "./templates.ts";
import { type NamedSet, TRAIN_TEST } from "./types.ts";

const TEMPLATES = withArticles([
  ...shownAs("photo", "painting", "sculpture", "sketch", "tattoo", "rendition", "drawing", "doodle"),
  ...madeAs("plastic", "toy", "embroidered", "cartoon", "plushie", "origami"),
  "* {} in a video game.",
  "art of * {}.",
  "graffiti of * {}.",
]);

/** Caltech 101 without its background class: the images of a class are numbered, whatever lies in its folder. */
export const caltech101: NamedSet = {
  name: "Caltech101",
  splits: TRAIN_TEST,
  templates: TEMPLATES,
  async open(root, split) {
    const folder = join(root, "caltech101", "101_ObjectCategories");
    const categories = (await listFolder(folder, "folders")).filter((name) => name !== "BACKGROUND_Google");
    const samples: LabeledFile[] = [];
    for (const [label, category] of categories.entries()) {
      const own = join(folder, category);
      const { length } = await naming(own, "read", readdir(own));
      for (let i = 1; i <= length; i++) samples.push({ file: join(own, `image_${padded(i, 4)}.jpg`), label });
    }
    return splitAtRandom(folder, categories, samples, split);
  },
};

/** Caltech 256, its clutter class included. */
export const caltech256: NamedSet = {
  name: "Caltech256",
  splits: TRAIN_TEST,
  templates: TEMPLATES,
  async open(root, split) {
    const folder = join(root, "caltech256", "256_ObjectCategories");
    const categories = await listFolder(folder, "folders");
    const samples: LabeledFile[] = [];
    for (const [label, category] of categories.entries()) {
      const own = join(folder, category);
      const { length } = (await naming(own, "read", readdir(own))).filter((name) => name.endsWith(".jpg"));
      for (let i = 1; i <= length; i++) {
        samples.push({ file: join(own, `${padded(label + 1, 3)}_${padded(i, 4)}.jpg`), label });
      }
    }
    return splitAtRandom(folder, categories, samples, split);
  },
};

/** `random_split` of 80 and 20 parts in 100, with torch's generator at seed 0. */
function splitAtRandom(
  folder: string,
  categories: readonly string[],
  samples: readonly LabeledFile[],
  split: Split,
): ImageSet {
  const order = torchRandperm(samples.length, 0n);
  const train = Math.trunc(samples.length * 0.8);
  const chosen = split === "train" ? order.subarray(0, train) : order.subarray(train);
  const classes = categories.map((name) =>
    name
      .slice(name.lastIndexOf(".") + 1)
      .replaceAll("-", " ")
      .replaceAll(" 101", ""),
  );
  return fileSet(
    folder,
    { classes, texts: classes, upright: false },
    Array.from(chosen, (i) => samples[i] as LabeledFile),
  );
}

function padded(number: number, digits: number): string {
  return String(number).padStart(digits, "0");
}
