import { join } from "node:path";
import { fileSet, isDirectory } from "../datasets/files.ts";
import { readClassFolders } from "../datasets/folders.ts";
import type { ImageSet } from "../datasets/types.ts";
import countryNames from "./country211-classes.txt" with { type: "text" };
import imagenetNames from "./imagenet-classes.txt" with { type: "text" };
import { being, madeAs, shownAs, withArticles } from "./templates.ts";
import { ALL_SPLITS, type NamedSet, TRAIN_TEST, wrong } from "./types.ts";

/**
 * A split that is one folder a class. Labels are the order of the folders' names.
 *
 * @param named what the class of a folder is called: by its name, or all of them in order
 */
export async function openClassFolders(
  root: string,
  named: ((folder: string) => string) | readonly string[],
  wanted?: (name: string) => boolean,
): Promise<ImageSet> {
  const { classes: folders, samples } = await readClassFolders(root, undefined, wanted);
  const classes = typeof named === "function" ? folders.map(named) : named;
  if (folders.length !== classes.length) {
    throw wrong(root, `${folders.length} class folders in it, and the set has ${classes.length} classes`);
  }
  return fileSet(root, { classes, texts: classes, upright: false }, samples);
}

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

/** By the folders of the set. */
const LAND: Readonly<Record<string, string>> = {
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
      const known = Object.hasOwn(LAND, name) ? LAND[name] : undefined;
      if (known === undefined) throw wrong(folder, `${name} is no class of EuroSAT`);
      return known;
    });
  },
};

/** Names of the countries, in the order of their ISO 3166 codes, which the folders are called by. */
const COUNTRIES = countryNames.trim().split("\n");

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
  open: (root, split) => openClassFolders(join(root, "country211", split), COUNTRIES),
};

/** CLIP's names, two of them twice (missile, sunglasses), in the order of the WordNet ids that the folders are called by. */
const IMAGENET = imagenetNames.trim().split("\n");

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
    if (split === "train") return await openClassFolders(join(folder, "train"), IMAGENET);
    const sorted = join(folder, "val_in_folder");
    return await openClassFolders((await isDirectory(sorted)) ? sorted : join(folder, "val"), IMAGENET);
  },
};
