import { join } from "node:path";
import { oneLine } from "../../../files/failure.ts";
import type { Box } from "../image.ts";
import { fileSet, readLines, readText, within } from "../datasets/files.ts";
import type { Source } from "../datasets/types.ts";
import { ALL_SPLITS, type LaidOutSet, wrong } from "./types.ts";

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
  readonly image: string;
  readonly label: number;
  readonly box: Box;
}

/** PASCAL VOC 2007 as single things: every bounding box of an image, difficult ones too, is cut out and classified. */
export const pascalVoc: LaidOutSet = {
  name: "PascalVOC",
  splits: ALL_SPLITS,
  templates: ["a photo of a {}."],
  async open(root, split) {
    const folder = join(root, "VOCdevkit", "VOC2007");
    const part = split === "valid" ? "val" : split;
    // The list of any category names every image of the split.
    const list = join(folder, "ImageSets", "Main", `${CATEGORIES[0]}_${part}.txt`);
    const images: Thing[][] = [];
    for (const line of await readLines(list)) {
      const [image = ""] = line.split(/\s+/);
      images.push(await readThings(within(join(folder, "Annotations"), `${image}.xml`, list), image));
    }
    const things = images.flat();
    const fileOf = (image: string) => within(join(folder, "JPEGImages"), `${image}.jpg`, list);
    const set = fileSet(
      list,
      { classes: CLASSES, texts: CLASSES, upright: false },
      things.map(({ image, label }) => ({ file: fileOf(image), label })),
    );
    return {
      ...set,
      source: (index): Source => {
        const { image = "", box } = things[index] ?? {};
        const file = fileOf(image);
        return { name: oneLine(file), from: { file }, ...(box === undefined ? {} : { box }) };
      },
    };
  },
};

/** The objects of an annotation. Numbers are taken in the order of the tags, whatever these are called, as the paper's code does. */
async function readThings(path: string, image: string): Promise<Thing[]> {
  const text = await readText(path);
  return split(text, "object").inside.map((object) => {
    // Parts (heads, hands) have boxes of their own.
    const body = split(object, "part").outside;
    const name = /^\s*<name>([^<]*)<\/name>/.exec(body)?.[1] ?? "";
    const label = CATEGORIES.indexOf(name.trim());
    if (label < 0) throw wrong(path, "an object that begins with no known name");
    const [box = ""] = split(body, "bndbox").inside;
    const sides = [...box.matchAll(/<\w+>\s*(\d+)\s*<\/\w+>/g)].map((side) => Number(side[1]));
    const [left = 0, top = 0, right = 0, bottom = 0] = sides;
    if (sides.length < 4 || right <= left || bottom <= top || right > 65_535 || bottom > 65_535) {
      throw wrong(path, "an object without a box");
    }
    return { image, label, box: { left, top, right, bottom } };
  });
}

/**
 * What stands between `<tag>` and the next `</tag>`, again and again, and the rest. In one pass: a regular expression would
 * look for the end anew from every tag that has none.
 */
function split(text: string, tag: string): { readonly inside: readonly string[]; readonly outside: string } {
  const [begin, end] = [`<${tag}>`, `</${tag}>`];
  const inside: string[] = [];
  const outside: string[] = [];
  let at = 0;
  for (;;) {
    const from = text.indexOf(begin, at);
    const to = from < 0 ? -1 : text.indexOf(end, from + begin.length);
    outside.push(text.slice(at, to < 0 ? undefined : from));
    if (to < 0) return { inside, outside: outside.join("") };
    inside.push(text.slice(from + begin.length, to));
    at = to + end.length;
  }
}
