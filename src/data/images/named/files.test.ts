// The sets whose images are files: which belong to each split, and what they are called.
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import type { ImageSet, Split } from "../datasets/types.ts";
import { IMAGES } from "../testing/expected.ts";
import { laidOut } from "./testing/laid-out.ts";
import { plant, REPLICAS } from "./testing/replicas.ts";

/** What each split must have, image by image: file (and box), then class. */
const CONTENTS: Readonly<Record<string, Partial<Record<Split, readonly string[]>>>> = {
  DTD: {
    train: ["dtd/train/banded/a.jpg: banded", "dtd/train/polka-dotted/b.jpg: polka-dotted"],
    test: ["dtd/val/banded/c.jpg: banded", "dtd/val/polka-dotted/d.jpg: polka-dotted"],
  },
  EuroSAT: {
    train: eurosat("train"),
    valid: eurosat("val"),
    test: eurosat("test"),
  },
  RESISC45: {
    train: [
      "resisc45/NWPU-RESISC45/airplane/airplane_001.jpg: airplane",
      "resisc45/NWPU-RESISC45/sea_ice/sea_ice_002.jpg: sea ice",
    ],
    valid: ["resisc45/NWPU-RESISC45/airplane/airplane_009.jpg: airplane"],
    test: ["resisc45/NWPU-RESISC45/sea_ice/sea_ice_001.jpg: sea ice"],
  },
  SUN397: {
    train: ["sun397/train/a_abbey/1.jpg: abbey", "sun397/train/b_bakery_shop/2.jpg: bakery shop"],
    test: ["sun397/val/a_abbey/3.jpg: abbey", "sun397/val/b_bakery_shop/4.jpg: bakery shop"],
  },
  GTSRB: {
    train: [
      "gtsrb/GTSRB/Training/00001/00000_00000.ppm: red and white circle 30 kph speed limit",
      "gtsrb/GTSRB/Training/00014/00000_00001.ppm: stop",
    ],
    test: [
      "gtsrb/GTSRB/Final_Test/Images/00000.ppm: red and white circle no truck entry",
      "gtsrb/GTSRB/Final_Test/Images/00001.ppm: red and white circle 30 kph speed limit",
    ],
  },
  ImageNet: {
    train: ["00001/n_1.JPEG: goldfish", "00657/n_3.JPEG: missile", "00999/n_2.JPEG: toilet paper"].map(
      (line) => `imagenet/train/${line}`,
    ),
    test: ["00001/n_1.JPEG: goldfish", "00657/n_3.JPEG: missile", "00999/n_2.JPEG: toilet paper"].map(
      (line) => `imagenet/val_in_folder/${line}`,
    ),
  },
  Food101: {
    train: [
      "food-101/images/waffles/9.jpg: waffles",
      "food-101/images/apple_pie/1.jpg: apple pie",
      "food-101/images/apple_pie/2.jpg: apple pie",
    ],
    test: ["food-101/images/apple_pie/7.jpg: apple pie", "food-101/images/waffles/8.jpg: waffles"],
  },
  FGVCAircraft: {
    train: [
      "fgvc-aircraft-2013b/data/images/1025794.jpg: 707-320",
      "fgvc-aircraft-2013b/data/images/1340192.jpg: Beechcraft 1900",
    ],
    valid: ["fgvc-aircraft-2013b/data/images/56978.jpg: A310"],
    test: ["fgvc-aircraft-2013b/data/images/1514522.jpg: A310"],
  },
  OxfordIIITPet: {
    train: [
      "oxford-iiit-pet/images/american_bulldog_100.jpg: American Bulldog",
      "oxford-iiit-pet/images/Abyssinian_1.jpg: Abyssinian",
      "oxford-iiit-pet/images/wheaten_terrier_3.jpg: Wheaten Terrier",
    ],
    test: [
      "oxford-iiit-pet/images/Abyssinian_201.jpg: Abyssinian",
      "oxford-iiit-pet/images/american_bulldog_10.jpg: American Bulldog",
      "oxford-iiit-pet/images/wheaten_terrier_9.jpg: Wheaten Terrier",
    ],
  },
  CUB200: {
    train: [
      "CUB_200_2011/images/001.Black_footed_Albatross/Black_0009.jpg: Black footed Albatross",
      "CUB_200_2011/images/002.Laysan_Albatross/Laysan_1.jpg: Laysan Albatross",
    ],
    test: ["CUB_200_2011/images/001.Black_footed_Albatross/Black_0046.jpg: Black footed Albatross"],
  },
  PascalVOC: {
    train: [
      "VOCdevkit/VOC2007/JPEGImages/000012.jpg 156,97,351,270: car",
      "VOCdevkit/VOC2007/JPEGImages/000017.jpg 185,62,279,199: person",
      "VOCdevkit/VOC2007/JPEGImages/000017.jpg 78,90,336,403: dining table",
    ],
    valid: ["VOCdevkit/VOC2007/JPEGImages/000005.jpg 263,211,324,339: chair"],
    test: ["VOCdevkit/VOC2007/JPEGImages/000001.jpg 48,240,195,371: tv monitor"],
  },
  Country211: {
    train: ["country211/train/00001/a.jpg: United Arab Emirates"],
    valid: ["country211/valid/00210/b.jpg: Zimbabwe"],
    test: ["country211/test/00000/c.jpg: Andorra"],
  },
  UCF101: {
    // Label 1 is the second name that the training list meets.
    train: [
      "UCF-101-midframes/Basketball/v_1.jpg: Apply_Eye_Makeup",
      "UCF-101-midframes/Apply_Eye_Makeup/v_2.jpg: Basketball",
    ],
    valid: ["UCF-101-midframes/Basketball/v_3.jpg: Apply_Eye_Makeup"],
    test: ["UCF-101-midframes/Apply_Eye_Makeup/v_4.jpg: Basketball"],
  },
};

function eurosat(split: string): string[] {
  const names = {
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
  return Object.entries(names).map(([folder, name]) => `EuroSAT_splits/${split}/${folder}/${split}.jpg: ${name}`);
}

async function listed(set: ImageSet, root: string): Promise<string[]> {
  const lines: string[] = [];
  for (let i = 0; i < set.labels.length; i++) {
    const { from, box } = await set.source(i);
    const place = "file" in from ? relative(root, from.file) : "in memory";
    const part = box === undefined ? "" : ` ${box.left},${box.top},${box.right},${box.bottom}`;
    lines.push(`${place}${part}: ${set.classes[set.labels[i] ?? -1]}`);
  }
  return lines;
}

describe.each(Object.entries(CONTENTS))("%s", (name, splits) => {
  test("has the images and names of each split", async () => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, REPLICAS[name] ?? {});
    const set = laidOut(name);
    expect(Object.keys(splits)).toEqual([...set.splits]);
    for (const split of set.splits) {
      const opened = await set.open(folder.path, split);
      expect(await listed(opened, folder.path)).toEqual([...(splits[split] ?? [])]);
      expect([opened.upright, opened.texts]).toEqual([false, opened.classes]);
    }
  });

  test("names the file that is missing", async () => {
    await using folder = await TemporaryFolder.create();
    const refusal = await refusalOf(() => laidOut(name).open(folder.path, "train"));
    expect([refusal.code, refusal.message.includes(folder.path)]).toEqual(["file", true]);
  });
});

const sets: { permutations: [number, number[]][] } = JSON.parse(
  readFileSync(join(IMAGES, "sets", "expected.json"), "utf8"),
);

describe.each([
  [
    "Caltech101",
    (i: number) => (i < 13 ? `Faces_easy/image_${four(i + 1)}` : `water_lilly/image_${four(i - 12)}`),
    ["Faces_easy", "water_lilly"],
    [13, 10],
  ],
  [
    "Caltech256",
    (i: number) =>
      i < 11
        ? `001.ak47/001_${four(i + 1)}`
        : i < 16
          ? `002.airplanes-101/002_${four(i - 10)}`
          : `257.clutter/003_${four(i - 15)}`,
    ["ak47", "airplanes", "clutter"],
    [11, 5, 7],
  ],
] as const)("%s", (name, fileOf, classes, sizes) => {
  test("is split as random_split does with seed 0: 18 and 5 of 23", async () => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, REPLICAS[name] ?? {});
    const order = sets.permutations.find(([, permutation]) => permutation.length === 23)?.[1] ?? [];
    const labels = sizes.flatMap((size, label) => Array<string>(size).fill(classes[label] ?? ""));
    const root = join(folder.path, name.toLowerCase(), `${name.slice(-3)}_ObjectCategories`);
    for (const [split, numbers] of [["train", order.slice(0, 18)] as const, ["test", order.slice(18)] as const]) {
      const set = await laidOut(name).open(folder.path, split);
      expect(set.classes).toEqual([...classes]);
      expect(await listed(set, root)).toEqual(numbers.map((i) => `${fileOf(i)}.jpg: ${labels[i]}`));
    }
  });
});

function four(number: number): string {
  return String(number).padStart(4, "0");
}
