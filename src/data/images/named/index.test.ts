// What sets there are, their prompts, and what is refused of their lists.
import { describe, expect, test } from "bun:test";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import { NAMED_SETS, namedSet } from "./index.ts";
import { laidOut } from "./testing/laid-out.ts";
import { plant, REPLICAS } from "./testing/replicas.ts";

describe("names and prompts", () => {
  test("there are 22 sets, each with as many prompts as CLIP has for it", () => {
    const counts = Object.fromEntries(NAMED_SETS.map(({ name, templates }) => [name, new Set(templates).size]));
    expect(counts).toEqual({
      Cars: 8,
      DTD: 8,
      EuroSAT: 3,
      GTSRB: 3,
      MNIST: 1,
      RESISC45: 18,
      SUN397: 2,
      SVHN: 1,
      CIFAR10: 18,
      CIFAR100: 18,
      ImageNet: 80,
      STL10: 2,
      Food101: 1,
      Caltech101: 34,
      Caltech256: 34,
      FGVCAircraft: 2,
      Flowers102: 1,
      OxfordIIITPet: 1,
      CUB200: 1,
      PascalVOC: 1,
      Country211: 5,
      UCF101: 48,
    });
    for (const { templates } of NAMED_SETS)
      for (const template of templates) expect(template.split("{}").length).toBe(2);
    // The 80 of open_clip's zero_shot_metadata.py, sorted and joined by newlines.
    const sorted = namedSet("imagenet").templates.toSorted().join("\n");
    expect(new Bun.CryptoHasher("sha256").update(sorted).digest("hex")).toBe(
      "a8a4822f2921936e2ef07cf2e7a5df69be9532aab2f3f4880156bb03563e2467",
    );
  });

  test("an unknown name is refused with those that are known", async () => {
    expect((await refusalOf(() => namedSet("cats"))).hint).toContain("Cars, MNIST");
  });

  test.each([
    ["UCF101", "UCF-101-midframes/split_zhou_UCF101.json", '{"train": [["../x.jpg", 0, "a"]], "val": [], "test": []}'],
    ["CUB200", "CUB_200_2011/images.txt", "1 a\n2 ../../secret.jpg\n3 b\n"],
    ["OxfordIIITPet", "oxford-iiit-pet/annotations/trainval.txt", "../../a_b 1 1 1\n"],
    ["Food101", "food-101/meta/train.json", '{"pie": ["../../pie/1"]}'],
    ["PascalVOC", "VOCdevkit/VOC2007/ImageSets/Main/aeroplane_train.txt", "../../../x -1\n"],
    ["FGVCAircraft", "fgvc-aircraft-2013b/data/images_variant_train.txt", "../../x A310\n"],
  ])("a list of %s cannot name a file outside", async (name, path, list) => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, { ...REPLICAS[name], [path]: list });
    const refusal = await refusalOf(() => laidOut(name).open(folder.path, "train"));
    expect(refusal.message).toContain("leads out of");
  });

  test("another number of class folders than the set's is refused", async () => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, { "country211/train/AD/": "", "country211/train/AE/": "" });
    const refusal = await refusalOf(() => laidOut("Country211").open(folder.path, "train"));
    expect(refusal.message).toContain("2 class folders in it, and the set has 211 classes");
  });
});
