import { join } from "node:path";
import { oneLine } from "../../../files/failure.ts";
import { readWhole } from "../../../files/read-whole.ts";
import { readMat } from "../formats/mat.ts";
import { fileSet } from "../datasets/files.ts";
import names from "./flowers102-classes.txt" with { type: "text" };
import { ALL_SPLITS, type NamedSet, wrong } from "./types.ts";

const MOST_BYTES = 2 ** 24;
const PARTS = { train: "trnid", valid: "valid", test: "tstid" } as const;
const CLASSES = names.trim().split("\n");

/** Oxford Flowers: it trains on train alone, 1020 images; the test part has 6149. */
export const flowers102: NamedSet = {
  name: "Flowers102",
  splits: ALL_SPLITS,
  templates: ["a photo of a {}, a type of flower."],
  async open(root, split) {
    const folder = join(root, "flowers-102");
    const path = join(folder, "setid.mat");
    const ids = await numbersOf(path, PARTS[split]);
    const labels = await numbersOf(join(folder, "imagelabels.mat"), "labels");
    const samples = ids.map((id) => ({
      file: join(folder, "jpg", `image_${String(id).padStart(5, "0")}.jpg`),
      label: (labels[id - 1] ?? 0) - 1,
    }));
    return fileSet(path, { classes: CLASSES, texts: CLASSES, upright: false }, samples);
  },
};

async function numbersOf(path: string, variable: string): Promise<number[]> {
  const value = readMat(await readWhole(path, MOST_BYTES), oneLine(path)).get(variable);
  if (value?.kind !== "numbers") throw wrong(path, `no ${variable} in it`);
  return Array.from(value.data);
}
