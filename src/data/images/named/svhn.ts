import { join } from "node:path";
import { oneLine } from "../../../files/failure.ts";
import { readMat } from "../formats/mat.ts";
import { fromPlanes, pixelSet, readPixels } from "../datasets/pixels.ts";
import { DIGIT_TEMPLATES, DIGITS } from "./digits.ts";
import { type NamedSet, TRAIN_TEST, wrong } from "./types.ts";

/** Street View house numbers, 32 × 32: in MATLAB's order of elements, and 10 stands for the digit 0. */
export const svhn: NamedSet = {
  name: "SVHN",
  splits: TRAIN_TEST,
  templates: DIGIT_TEMPLATES,
  async open(root, split) {
    const path = join(root, "svhn", `${split}_32x32.mat`);
    const variables = readMat(await readPixels(path), oneLine(path));
    const [images, labels] = [variables.get("X"), variables.get("y")];
    if (images?.kind !== "numbers" || labels?.kind !== "numbers" || !(images.data instanceof Uint8Array)) {
      throw wrong(path, "no X of bytes and no y in it");
    }
    const { data } = images;
    const [height = 0, width = 0, colors = 0, count = 1] = images.dims;
    if (colors !== 3 || labels.data.length !== count) throw wrong(path, "X and y have other sizes than SVHN's");
    const digits = Array.from(labels.data, (label) => label % 10);
    const planes = { width, height, order: "columns" } as const;
    return pixelSet(path, DIGITS, digits, (index) => fromPlanes(data, index * width * height * 3, planes));
  },
};
