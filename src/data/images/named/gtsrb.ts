import { extname, join } from "node:path";
import { oneLine } from "../../../files/failure.ts";
import { parseCsv } from "../../records/csv.ts";
import { fileSet, readText, within } from "../datasets/files.ts";
import { openClassFolders } from "./class-folders.ts";
import { type NamedSet, TRAIN_TEST } from "./types.ts";

const SPEED = (limit: number) => `red and white circle ${limit} kph speed limit`;
const WARNING = (sign: string) => `red and white triangle ${sign} warning`;
const MANDATORY = (arrow: string) => `blue circle with white ${arrow} arrow mandatory`;

/** CLIP's names of the signs, with its misspellings: prompts of other words are other prompts. */
const CLASSES: readonly string[] = [
  ...[20, 30, 50, 60, 70, 80].map(SPEED),
  "end / de-restriction of 80 kph speed limit",
  ...[100, 120].map(SPEED),
  "red and white circle red car and black car no passing",
  "red and white circle red truck and black car no passing",
  WARNING("road intersection"),
  "white and yellow diamond priority road",
  "red and white upside down triangle yield right-of-way",
  "stop",
  "empty red and white circle",
  "red and white circle no truck entry",
  "red circle with white horizonal stripe no entry",
  WARNING("with exclamation mark"),
  ...["left curve", "right curve", "double curve"].map((curve) => WARNING(`with black ${curve} approaching`)),
  WARNING("rough / bumpy road"),
  WARNING("car skidding / slipping"),
  WARNING("with merging / narrow lanes"),
  WARNING("with person digging / construction / road work"),
  WARNING("with traffic light approaching"),
  WARNING("with person walking"),
  WARNING("with child and person walking"),
  WARNING("with bicyle"),
  WARNING("with snowflake / ice"),
  WARNING("with deer"),
  "white circle with gray strike bar no speed limit",
  ...[
    "right turn",
    "left turn",
    "forward",
    "forward or right turn",
    "forward or left turn",
    "keep right",
    "keep left",
  ].map(MANDATORY),
  "blue circle with white arrows indicating a traffic circle",
  ...["cars", "trucks"].map((kind) => `white circle with gray strike bar indicating no passing for ${kind} has ended`),
];

/** German traffic signs, as torchvision lays them out: folders 00000 to 00042 of PPM, and a table of the test images. */
export const gtsrb: NamedSet = {
  name: "GTSRB",
  splits: TRAIN_TEST,
  templates: ["zoomed in", "centered", "close up"].map((view) => `a ${view} photo of a "{}" traffic sign.`),
  async open(root, split) {
    const folder = join(root, "gtsrb");
    if (split === "train") {
      return await openClassFolders(
        join(folder, "GTSRB", "Training"),
        CLASSES,
        (name) => extname(name).toLowerCase() === ".ppm",
      );
    }
    const table = join(folder, "GT-final_test.csv");
    const images = join(folder, "GTSRB", "Final_Test", "Images");
    const rows = [...parseCsv(await readText(table), oneLine(table), ";")];
    const samples = rows.map(({ fields }) => ({
      file: within(images, fields["Filename"] ?? "", table),
      label: Number(fields["ClassId"]),
    }));
    return fileSet(table, { classes: CLASSES, texts: CLASSES, upright: false }, samples);
  },
};
