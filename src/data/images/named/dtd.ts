import { join } from "node:path";
import { openClassFolders } from "./class-folders.ts";
import { withArticles } from "./templates.ts";
import { type NamedSet, TRAIN_TEST } from "./types.ts";

/**
 * Describable Textures, split 1, as the paper's code lays it out: dtd/train is DTD's train1 and val1 together, and dtd/val is
 * its test1.
 */
export const dtd: NamedSet = {
  name: "DTD",
  splits: TRAIN_TEST,
  templates: withArticles(["texture", "pattern", "thing", "object"].map((thing) => `a photo of * {} ${thing}.`)),
  open: (root, split) =>
    openClassFolders(join(root, "dtd", split === "train" ? "train" : "val"), (folder) => folder.replaceAll("_", " ")),
};
