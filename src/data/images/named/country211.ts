import { join } from "node:path";
import { openClassFolders } from "./class-folders.ts";
import names from "./country211-classes.txt" with { type: "text" };
import { ALL_SPLITS, type NamedSet } from "./types.ts";

/** Names of the countries, in the order of their ISO 3166 codes, which the folders are called by. */
const CLASSES = names.trim().split("\n");

/** Country211: where a photo was taken. */
export const country211: NamedSet = {
  name: "Country211",
  splits: ALL_SPLITS,
  templates: [
    "i took in",
    "i took while visiting",
    "from my home country of",
    "from my visit to",
    "showing the country of",
  ].map((how) => `a photo ${how} {}.`),
  open: (root, split) => openClassFolders(join(root, "country211", split), CLASSES),
};
