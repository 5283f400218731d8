import { join } from "node:path";
import { isDirectory } from "../datasets/files.ts";
import { openClassFolders } from "./class-folders.ts";
import names from "./imagenet-classes.txt" with { type: "text" };
import { being, madeAs, shownAs, withArticles } from "./templates.ts";
import { type NamedSet, TRAIN_TEST } from "./types.ts";

/** CLIP's names, two of them twice (missile, sunglasses), in the order of the WordNet ids that the folders are called by. */
const CLASSES = names.trim().split("\n");

const QUALITIES = ["bad", "good", "low resolution", "cropped", "bright", "dark", "close-up", "black and white"];
const PHOTOS = [...QUALITIES, "pixelated", "jpeg corrupted", "blurry"];

/** ImageNet: train, and the validation images in class folders as its test. */
export const imagenet: NamedSet = {
  name: "ImageNet",
  splits: TRAIN_TEST,
  templates: [
    ...withArticles([
      ...shownAs("photo", ...PHOTOS.map((kind) => `${kind} photo`)),
      ...shownAs("sculpture", "rendering", "tattoo", "drawing", "painting", "doodle", "sketch", "rendition"),
      ...being("hard to see", "clean", "dirty", "cool", "nice", "weird", "small", "large"),
      ...madeAs("embroidered", "plastic", "origami", "toy", "cartoon", "plushie"),
      "* {} in a video game.",
      ...["graffiti", "art", "itap"].map((form) => `${form} of * {}.`),
    ]),
    ...["many", "my", "one"].map((which) => `a photo of ${which} {}.`),
    "itap of my {}.",
  ],
  async open(root, split) {
    const nested = join(root, "imagenet", "Data", "CLS-LOC");
    const folder = (await isDirectory(nested)) ? nested : join(root, "imagenet");
    if (split === "train") return await openClassFolders(join(folder, "train"), CLASSES);
    const sorted = join(folder, "val_in_folder");
    return await openClassFolders((await isDirectory(sorted)) ? sorted : join(folder, "val"), CLASSES);
  },
};
