import { expect, test } from "bun:test";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import { pascalVoc } from "./pascal-voc.ts";

const BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>";

async function open(annotation: string) {
  await using folder = await TemporaryFolder.create();
  await Bun.write(folder.at("VOCdevkit/VOC2007/ImageSets/Main/aeroplane_train.txt"), "000001 -1\n");
  await Bun.write(folder.at("VOCdevkit/VOC2007/Annotations/000001.xml"), annotation);
  return await pascalVoc.open(folder.path, "train");
}

test("takes each object's own box, not those of its parts", async () => {
  const part =
    "<part><name>head</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>6</xmax><ymax>6</ymax></bndbox></part>";
  const objects = [
    `<object>\n <name> person </name>${part}${BOX}${part}</object>`,
    `<object><name>cat</name>${BOX}</object>`,
  ];
  const set = await open(`<annotation>${objects.join("<object/>")}</annotation>`);
  expect(Array.from(set.labels, (label) => set.classes[label])).toEqual(["person", "cat"]);
  expect((await set.source(0)).box).toEqual({ left: 1, top: 2, right: 30, bottom: 40 });
});

test.each([
  ["objects", "<object>".repeat(500_000), "no images"],
  ["parts", `<object><name>cat</name>${"<part>".repeat(500_000)}</object>`, "an object without a box"],
  ["boxes", `<object><name>cat</name>${"<bndbox>".repeat(500_000)}</object>`, "an object without a box"],
  ["names", `<object><name>${" ".repeat(500_000)}x</object>`, "no known name"],
])("looks for the end of %s once, however many there are without", async (_, annotation, problem) => {
  expect((await refusalOf(() => open(annotation))).message).toContain(problem);
});
