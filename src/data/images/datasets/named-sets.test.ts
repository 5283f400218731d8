// What sets there are, and their prompts.
import { expect, test } from "bun:test";
import { refusalOf } from "../../../files/testing/folder.ts";
import { NAMED_SETS, namedSet } from "./named-sets.ts";

test("there are 22 sets, each with as many prompts as CLIP has for it", () => {
  const counts = Object.entries(NAMED_SETS).map(([name, { prompts }]) => [name, new Set(prompts).size]);
  expect(Object.fromEntries(counts)).toEqual({
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
  for (const { prompts } of Object.values(NAMED_SETS))
    for (const prompt of prompts) expect(prompt.split("{}").length).toBe(2);
  // The 80 of open_clip's zero_shot_metadata.py, sorted and joined by newlines.
  const sorted = namedSet("imagenet").prompts.toSorted().join("\n");
  expect(new Bun.CryptoHasher("sha256").update(sorted).digest("hex")).toBe(
    "a8a4822f2921936e2ef07cf2e7a5df69be9532aab2f3f4880156bb03563e2467",
  );
  expect(
    Object.entries(NAMED_SETS).flatMap(([name, { classes }]) => (classes ? [[name, classes.length]] : [])),
  ).toEqual([
    ["Flowers102", 102],
    ["GTSRB", 43],
    ["ImageNet", 1000],
    ["Country211", 211],
  ]);
});

test("an unknown name is refused with those that are known", async () => {
  expect((await refusalOf(() => namedSet("cats"))).hint).toContain("Cars, MNIST");
});
