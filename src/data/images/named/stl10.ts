import { join } from "node:path";
import { readLines } from "../datasets/files.ts";
import { fromPlanes, pixelSet, readPixels } from "../datasets/pixels.ts";
import { withArticles } from "./templates.ts";
import { type NamedSet, TRAIN_TEST, wrong } from "./types.ts";

const SIDE = 96;
const IMAGE_BYTES = 3 * SIDE * SIDE;

/** STL10: images by columns, labels from 1. */
export const stl10: NamedSet = {
  name: "STL10",
  splits: TRAIN_TEST,
  templates: withArticles(["a photo of * {}."]),
  async open(root, split) {
    const folder = join(root, "stl10", "stl10_binary");
    const path = join(folder, `${split}_X.bin`);
    const images = await readPixels(path);
    const labels = await readPixels(join(folder, `${split}_y.bin`));
    if (images.length !== labels.length * IMAGE_BYTES) throw wrong(path, "another number of images than of labels");
    const classes = await readLines(join(folder, "class_names.txt"));
    const planes = { width: SIDE, height: SIDE, order: "columns" } as const;
    return pixelSet(
      path,
      classes,
      Array.from(labels, (label) => label - 1),
      (index) => fromPlanes(images, index * IMAGE_BYTES, planes),
    );
  },
};
