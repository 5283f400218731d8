import { join } from "node:path";
import { oneLine } from "../../files/failure.ts";
import type { Box } from "../picture.ts";
import { fileSet, readLines, readText, within } from "../sets/files.ts";
import type { Source } from "../sets/types.ts";
import { ALL_SPLITS, type NamedSet, wrong } from "./types.ts";

/** As the annotations have them, and as the prompts do. */
const NAMES =
  "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep sofa train tvmonitor";
const CATEGORIES = NAMES.split(" ");
const TEXTS: Readonly<Record<string, string>> = {
  diningtable: "dining table",
  pottedplant: "potted plant",
  tvmonitor: "tv monitor",
};
const CLASSES = CATEGORIES.map((name) => TEXTS[name] ?? name);

interface Thing {
  readonly picture: string;
  readonly label: number;
  readonly box: Box;
}

/** PASCAL VOC 2007 as single things: every bounding box of a picture, difficult ones too, is cut out and classified. */
export const pascalVoc: NamedSet = {
  name: "PascalVOC",
  splits: ALL_SPLITS,
  templates: ["a photo of a {}."],
  async open(root, split) {
    const folder = join(root, "VOCdevkit", "VOC2007");
    const part = split === "valid" ? "val" : split;
    // The list of any category names every picture of the split.
    const list = join(folder, "ImageSets", "Main", `${CATEGORIES[0]}_${part}.txt`);
    const things: Thing[] = [];
    for (const line of await readLines(list)) {
      const [picture = ""] = line.split(/\s+/);
      things.push(...(await readThings(within(join(folder, "Annotations"), `${picture}.xml`, list), picture)));
    }
    const fileOf = (picture: string) => within(join(folder, "JPEGImages"), `${picture}.jpg`, list);
    const set = fileSet(
      list,
      { classes: CLASSES, texts: CLASSES, upright: false },
      things.map(({ picture, label }) => ({ file: fileOf(picture), label })),
    );
    return {
      ...set,
      source: (index): Source => {
        const { picture = "", box } = things[index] ?? {};
        const file = fileOf(picture);
        return { name: oneLine(file), from: { file }, ...(box === undefined ? {} : { box }) };
      },
    };
  },
};

/** The objects of an annotation. Numbers are taken in the order of the tags, whatever these are called, as the paper's code does. */
async function readThings(path: string, picture: string): Promise<Thing[]> {
  const text = await readText(path);
  return [...text.matchAll(/<object>([\s\S]*?)<\/object>/g)].map((match) => {
    // Parts (heads, hands) have boxes of their own.
    const body = (match[1] ?? "").replaceAll(/<part>[\s\S]*?<\/part>/g, "");
    const name = /^\s*<name>\s*([^<]*?)\s*<\/name>/.exec(body)?.[1] ?? "";
    const label = CATEGORIES.indexOf(name);
    if (label < 0) throw wrong(path, "an object that begins with no known name");
    const box = /<bndbox>([\s\S]*?)<\/bndbox>/.exec(body)?.[1] ?? "";
    const sides = [...box.matchAll(/<\w+>\s*(\d+)\s*<\/\w+>/g)].map((side) => Number(side[1]));
    const [left = 0, top = 0, right = 0, bottom = 0] = sides;
    if (sides.length < 4 || right <= left || bottom <= top || right > 65_535 || bottom > 65_535) {
      throw wrong(path, "an object without a box");
    }
    return { picture, label, box: { left, top, right, bottom } };
  });
}
