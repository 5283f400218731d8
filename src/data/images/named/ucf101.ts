import { join } from "node:path";
import * as v from "valibot";
import { fileSet, readList, within } from "../datasets/files.ts";
import { withArticles } from "./templates.ts";
import { ALL_SPLITS, type NamedSet, wrong } from "./types.ts";

const SHOWN = ["photo", "video", "example", "demonstration"];
const VERBS = ["", "using ", "doing ", "during ", "performing ", "practicing "];

const Split = v.array(v.tuple([v.string(), v.number(), v.string()]));
const Splits = v.object({ train: Split, val: Split, test: Split });

/** Middle frames of UCF101 with Zhou's split. Classes are named in the order in which the training list meets them. */
export const ucf101: NamedSet = {
  name: "UCF101",
  splits: ALL_SPLITS,
  templates: VERBS.flatMap((verb) => withArticles(SHOWN.map((shown) => `a ${shown} of * person ${verb}{}.`))),
  async open(root, split) {
    const folder = join(root, "UCF-101-midframes");
    const path = join(folder, "split_zhou_UCF101.json");
    const parsed = v.safeParse(Splits, await readList(path));
    if (!parsed.success) throw wrong(path, "no lists of [image, label, name]");
    const classes = [...new Set(parsed.output.train.map(([, , name]) => name))];
    const samples = parsed.output[split === "valid" ? "val" : split].map(([image, label]) => ({
      file: within(folder, image, path),
      label,
    }));
    return fileSet(path, { classes, texts: classes, upright: false }, samples);
  },
};
