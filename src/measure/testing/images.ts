// Images in folders of their classes, and small models of images with several weights.
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { writeModel } from "../../models/testing/models.ts";
import { CLIP, CLIP_SHAPES } from "../../models/vision/testing/models.ts";
import { writeClip } from "../../models/vision/testing/folder.ts";

const IMAGES = join(import.meta.dir, "../../../fixtures/images");

/** By class. */
export const SHOWN = {
  cat: ["rgb.png", "turned-6.jpg", "palette.png", "420.jpg"],
  dog: ["grey.png", "rgb-16-bits.png"],
  owl: ["lossy.webp", "grey.jpg", "411.jpg", "palette.gif"],
} as const;

/** Writes the images as `FOLDER/SPLIT/CLASS/NAME`. */
export async function writeImages(folder: string, split: string): Promise<void> {
  for (const [label, names] of Object.entries(SHOWN)) {
    for (const name of names) await cp(join(IMAGES, name), join(folder, split, label, name));
  }
}

/** A function of an element's number for each corner. */
export const CORNER_WEIGHTS = [2, 5, 11].map(
  (seed) => (at: number) => 0.3 * Math.sin(at * 1.7) + 0.1 * Math.cos(at * 0.31) + 0.1 * Math.sin(at * seed * 0.77),
);

/** A CLIP with such weights, whole with tokenizer and settings, for images of 17 × 17 pixels: its positions are for 12. */
export async function writeCorner(folder: string, weights: (at: number) => number): Promise<string> {
  await writeClip(folder);
  const size = { size: { shortest_edge: 17 }, crop_size: { height: 17, width: 17 } };
  await Bun.write(join(folder, "preprocessor_config.json"), JSON.stringify(size));
  await writeModel(folder, CLIP, CLIP_SHAPES, weights);
  return folder;
}
