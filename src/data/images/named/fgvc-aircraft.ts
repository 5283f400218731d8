import { join } from "node:path";
import { fileSet, readLines, within } from "../datasets/files.ts";
import { withArticles } from "./templates.ts";
import { ALL_SPLITS, type NamedSet, wrong } from "./types.ts";

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
