// Tiny copies of the sets' layouts, with what a reader of the wrong split, list or column would fall for.
import { readFileSync } from "node:fs";
import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { IMAGES } from "../../testing/expected.ts";

/** A file of fixtures/images/sets. */
export function setFile(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(IMAGES, "sets", name)));
}

/** Files by their paths; a path that ends in a slash is an empty folder. */
export type Tree = Readonly<Record<string, string | Uint8Array | { readonly link: string }>>;

export async function plant(root: string, tree: Tree): Promise<void> {
  for (const [path, content] of Object.entries(tree)) {
    if (path.endsWith("/")) await mkdir(join(root, path), { recursive: true });
    else if (typeof content === "object" && "link" in content) await symlink(content.link, join(root, path));
    else await Bun.write(join(root, path), content);
  }
}

/** Empty files. */
function empty(...paths: readonly string[]): Tree {
  return Object.fromEntries(paths.map((path) => [path, ""]));
}

/** `count` class folders, named so that their order is the number's. */
function folders(root: string, count: number): Tree {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`${root}/${String(i).padStart(5, "0")}/`, ""]));
}

const voc = (...objects: readonly string[]) =>
  `<annotation>\n<folder>VOC2007</folder>\n${objects.map((object) => `\t<object>\n${object}\n\t</object>`).join("\n")}\n</annotation>`;
const box = (names: readonly string[], values: readonly number[]) =>
  `<bndbox>${names.map((name, i) => `<${name}>${values[i]}</${name}>`).join("\n")}</bndbox>`;
const SIDES = ["xmin", "ymin", "xmax", "ymax"];

const numbered = (name: string, count: number, of: (i: number) => string) =>
  empty(...Array.from({ length: count }, (_, i) => `${name}/${of(i + 1)}`));

export const REPLICAS: Readonly<Record<string, Tree>> = {
  DTD: empty(
    "dtd/train/banded/a.jpg",
    "dtd/train/polka-dotted/b.jpg",
    "dtd/val/banded/c.jpg",
    "dtd/val/polka-dotted/d.jpg",
    "dtd/test/banded/e.jpg",
    "dtd/test/polka-dotted/f.jpg",
  ),
  EuroSAT: Object.assign(
    {},
    ...["train", "val", "test"].map((split) =>
      empty(
        ...[
          "SeaLake",
          "AnnualCrop",
          "Forest",
          "HerbaceousVegetation",
          "Highway",
          "Industrial",
          "Pasture",
          "PermanentCrop",
          "Residential",
          "River",
        ].map((name) => `EuroSAT_splits/${split}/${name}/${split}.jpg`),
      ),
    ),
  ),
  RESISC45: {
    ...empty("resisc45/NWPU-RESISC45/sea_ice/sea_ice_001.jpg", "resisc45/NWPU-RESISC45/sea_ice/sea_ice_002.jpg"),
    ...empty("resisc45/NWPU-RESISC45/airplane/airplane_001.jpg", "resisc45/NWPU-RESISC45/airplane/airplane_009.jpg"),
    "resisc45/resisc45-train.txt": "sea_ice_002.jpg\nairplane_001.jpg\n",
    "resisc45/resisc45-val.txt": "airplane_009.jpg\n",
    "resisc45/resisc45-test.txt": "sea_ice_001.jpg\n",
  },
  SUN397: empty(
    "sun397/train/a_abbey/1.jpg",
    "sun397/train/b_bakery_shop/2.jpg",
    "sun397/val/a_abbey/3.jpg",
    "sun397/val/b_bakery_shop/4.jpg",
    "sun397/a/abbey/5.jpg",
    "sun397/test/a_abbey/6.jpg",
  ),
  GTSRB: {
    ...folders("gtsrb/GTSRB/Training", 43),
    ...empty(
      "gtsrb/GTSRB/Training/00014/00000_00001.ppm",
      "gtsrb/GTSRB/Training/00001/00000_00000.ppm",
      "gtsrb/GTSRB/Training/00001/GT-00001.csv",
    ),
    ...empty("gtsrb/GTSRB/Final_Test/Images/00000.ppm"),
    "gtsrb/GT-final_test.csv":
      "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\r\n00000.ppm;53;54;6;5;48;49;16\r\n00001.ppm;42;45;5;5;36;40;1\r\n",
    "gtsrb/GT-final_test.test.csv": "Filename;Width;Height\n00000.ppm;53;54\n",
  },
  ImageNet: {
    ...folders("imagenet/train", 1000),
    ...empty("imagenet/train/00001/n_1.JPEG", "imagenet/train/00657/n_3.JPEG", "imagenet/train/00999/n_2.JPEG"),
    // A link, because a thousand folders take long to make.
    "imagenet/val_in_folder": { link: "train" },
    "imagenet/val/00000/wrong.JPEG": "",
  },
  Food101: {
    "food-101/meta/train.json": JSON.stringify({ waffles: ["waffles/9"], apple_pie: ["apple_pie/1", "apple_pie/2"] }),
    "food-101/meta/test.json": JSON.stringify({ apple_pie: ["apple_pie/7"], waffles: ["waffles/8"] }),
    "food-101/meta/classes.txt": "waffles\napple_pie\n",
  },
  Caltech101: {
    ...numbered("caltech101/101_ObjectCategories/Faces_easy", 13, (i) => `image_${String(i).padStart(4, "0")}.jpg`),
    ...numbered("caltech101/101_ObjectCategories/water_lilly", 10, (i) => `image_${String(i).padStart(4, "0")}.jpg`),
    ...empty("caltech101/101_ObjectCategories/BACKGROUND_Google/image_0001.jpg"),
  },
  Caltech256: {
    ...numbered("caltech256/256_ObjectCategories/001.ak47", 11, (i) => `001_${String(i).padStart(4, "0")}.jpg`),
    ...numbered("caltech256/256_ObjectCategories/002.airplanes-101", 5, (i) => `002_${String(i).padStart(4, "0")}.jpg`),
    ...numbered("caltech256/256_ObjectCategories/257.clutter", 7, (i) => `003_${String(i).padStart(4, "0")}.jpg`),
    ...empty("caltech256/256_ObjectCategories/001.ak47/RENAME2"),
  },
  FGVCAircraft: {
    "fgvc-aircraft-2013b/data/variants.txt": "707-320\nA310\nBeechcraft 1900\n",
    "fgvc-aircraft-2013b/data/families.txt": "Boeing 707\nA310\n",
    "fgvc-aircraft-2013b/data/images_variant_train.txt": "1025794 707-320\n1340192 Beechcraft 1900\n",
    "fgvc-aircraft-2013b/data/images_variant_val.txt": "56978 A310\n",
    "fgvc-aircraft-2013b/data/images_variant_trainval.txt": "1025794 707-320\n1340192 Beechcraft 1900\n56978 A310\n",
    "fgvc-aircraft-2013b/data/images_variant_test.txt": "1514522 A310\n",
  },
  OxfordIIITPet: {
    "oxford-iiit-pet/annotations/trainval.txt":
      "american_bulldog_100 2 2 1\nAbyssinian_1 1 1 1\nwheaten_terrier_3 3 2 2\n",
    "oxford-iiit-pet/annotations/test.txt":
      "Abyssinian_201 1 1 1\namerican_bulldog_10 2 2 1\nwheaten_terrier_9 3 2 2\n",
    "oxford-iiit-pet/annotations/list.txt": "#Image CLASS-ID SPECIES BREED ID\nAbyssinian_100 1 1 1\n",
  },
  CUB200: {
    "CUB_200_2011/images.txt":
      "1 001.Black_footed_Albatross/Black_0046.jpg\n2 001.Black_footed_Albatross/Black_0009.jpg\n3 002.Laysan_Albatross/Laysan_1.jpg\n",
    "CUB_200_2011/classes.txt": "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n",
    "CUB_200_2011/image_class_labels.txt": "1 1\n2 1\n3 2\n",
    "CUB_200_2011/train_test_split.txt": "1 0\n2 1\n3 1\n",
  },
  PascalVOC: {
    "VOCdevkit/VOC2007/ImageSets/Main/aeroplane_train.txt": "000012 -1\n000017  1\n",
    "VOCdevkit/VOC2007/ImageSets/Main/aeroplane_val.txt": "000005 -1\n",
    "VOCdevkit/VOC2007/ImageSets/Main/aeroplane_test.txt": "000001  0\n",
    "VOCdevkit/VOC2007/ImageSets/Main/aeroplane_trainval.txt": "000005 -1\n000012 -1\n000017  1\n",
    "VOCdevkit/VOC2007/ImageSets/Main/train.txt": "000099\n",
    "VOCdevkit/VOC2007/Annotations/000012.xml": voc(
      `\t\t<name>car</name>\n<difficult>0</difficult>${box(SIDES, [156, 97, 351, 270])}`,
    ),
    "VOCdevkit/VOC2007/Annotations/000017.xml": voc(
      `<name>person</name><part><name>head</name>${box(SIDES, [1, 2, 3, 4])}</part>${box(SIDES, [185, 62, 279, 199])}`,
      `<name>diningtable</name><difficult>1</difficult>${box(["ymin", "xmin", "ymax", "xmax"], [78, 90, 336, 403])}`,
    ),
    "VOCdevkit/VOC2007/Annotations/000005.xml": voc(`<name>chair</name>${box(SIDES, [263, 211, 324, 339])}`),
    "VOCdevkit/VOC2007/Annotations/000001.xml": voc(`<name>tvmonitor</name>${box(SIDES, [48, 240, 195, 371])}`),
  },
  Country211: {
    ...folders("country211/train", 211),
    ...folders("country211/valid", 211),
    ...folders("country211/test", 211),
    ...empty("country211/train/00001/a.jpg", "country211/valid/00210/b.jpg", "country211/test/00000/c.jpg"),
  },
  UCF101: {
    "UCF-101-midframes/split_zhou_UCF101.json": JSON.stringify({
      train: [
        ["Basketball/v_1.jpg", 1, "Basketball"],
        ["Apply_Eye_Makeup/v_2.jpg", 0, "Apply_Eye_Makeup"],
      ],
      val: [["Basketball/v_3.jpg", 1, "Basketball"]],
      test: [["Apply_Eye_Makeup/v_4.jpg", 0, "Apply_Eye_Makeup"]],
    }),
  },
};
