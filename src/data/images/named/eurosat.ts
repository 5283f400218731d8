import { join } from "node:path";
import { openClassFolders } from "./class-folders.ts";
import { ALL_SPLITS, type NamedSet, wrong } from "./types.ts";

/** By the folders of the set. */
const NAMES: Readonly<Record<string, string>> = {
  AnnualCrop: "annual crop land",
  Forest: "forest",
  HerbaceousVegetation: "brushland or shrubland",
  Highway: "highway or road",
  Industrial: "industrial buildings or commercial buildings",
  Pasture: "pasture land",
  PermanentCrop: "permanent crop land",
  Residential: "residential buildings or homes or apartments",
  River: "river",
  SeaLake: "lake or sea",
};

/** EuroSAT: 270 validation and 270 test images of each class, drawn once without a seed: every copy has its own split. */
export const eurosat: NamedSet = {
  name: "EuroSAT",
  splits: ALL_SPLITS,
  templates: ["", "a ", "the "].map((article) => `a centered satellite photo of ${article}{}.`),
  open(root, split) {
    const folder = join(root, "EuroSAT_splits", split === "valid" ? "val" : split);
    return openClassFolders(folder, (name) => {
      const known = Object.hasOwn(NAMES, name) ? NAMES[name] : undefined;
      if (known === undefined) throw wrong(folder, `${name} is no class of EuroSAT`);
      return known;
    });
  },
};
