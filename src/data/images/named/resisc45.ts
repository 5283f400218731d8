import { join } from "node:path";
import { readLines } from "../datasets/files.ts";
import { openClassFolders } from "./class-folders.ts";
import { ALL_SPLITS, type NamedSet } from "./types.ts";

const VIEWS = [
  "satellite imagery",
  "aerial imagery",
  "satellite photo",
  "aerial photo",
  "satellite view",
  "aerial view",
];

/** NWPU-RESISC45 with the splits of torchgeo: lists of file names, whatever folder a file lies in. */
export const resisc45: NamedSet = {
  name: "RESISC45",
  splits: ALL_SPLITS,
  templates: ["", "a ", "the "].flatMap((article) => VIEWS.map((view) => `${view} of ${article}{}.`)),
  async open(root, split) {
    const folder = join(root, "resisc45");
    const list = new Set(await readLines(join(folder, `resisc45-${split === "valid" ? "val" : split}.txt`)));
    return await openClassFolders(
      join(folder, "NWPU-RESISC45"),
      (name) => name.replaceAll("_", " "),
      (name) => list.has(name),
    );
  },
};
