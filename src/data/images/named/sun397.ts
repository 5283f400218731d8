import { join } from "node:path";
import { openClassFolders } from "./class-folders.ts";
import { withArticles } from "./templates.ts";
import { type NamedSet, TRAIN_TEST } from "./types.ts";

/**
 * SUN397, partition 1, as the paper's code lays it out: sun397/train and sun397/val, where /a/abbey is a_abbey, and
 * /a/apartment_building/outdoor a_apartment_building_outdoor.
 */
export const sun397: NamedSet = {
  name: "SUN397",
  splits: TRAIN_TEST,
  templates: withArticles(["a photo of * {}."]),
  open: (root, split) =>
    openClassFolders(join(root, "sun397", split === "train" ? "train" : "val"), (folder) =>
      folder.slice(2).replaceAll("_", " "),
    ),
};
