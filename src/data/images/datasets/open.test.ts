import { describe, expect, test } from "bun:test";
import { symlink } from "node:fs/promises";
import { basename } from "node:path";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import { hasSplit, openImagePart, openImages } from "./open.ts";
import { opened, plant, setFile, type Tree } from "./testing/opened.ts";
import { type ImageSet, subsetOf } from "./types.ts";

async function filesOf(set: ImageSet): Promise<string[]> {
  const sources = await Promise.all(Array.from(set.labels, (_, i) => set.source(i)));
  return sources.map(
    ({ from }, i) => `${"file" in from ? basename(from.file) : "bytes"} ${set.classes[set.labels[i] ?? -1]}`,
  );
}

const FOLDERS: Tree = {
  "train/zebra/2.PNG": "",
  "train/zebra/10.jpg": "",
  "train/zebra/.hidden.jpg": "",
  "train/zebra/notes.txt": "",
  "train/Ant_eater/b.webp": "",
  "train/Ant_eater/a.jpeg": "",
  "train/\u{1F600}/x.jpg": "",
  "train/\uFF5E/y.jpg": "",
  "train/.git/z.jpg": "",
  "train/loose.jpg": "",
  "val/zebra/v.jpg": "",
};

describe("class folders", () => {
  test("are taken in code-point order, files by class, then name", async () => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, FOLDERS);
    const set = await opened(folder);
    expect(set.classes).toEqual(["Ant_eater", "zebra", "\uFF5E", "\u{1F600}"]);
    expect(set.texts[0]).toBe("Ant eater");
    expect(await filesOf(set)).toEqual([
      "a.jpeg Ant_eater",
      "b.webp Ant_eater",
      "10.jpg zebra",
      "2.PNG zebra",
      "y.jpg \uFF5E",
      "x.jpg \u{1F600}",
    ]);
    expect(set.upright).toBe(true);
    expect(await openImages({ data: folder.path, split: "test" })).toBeUndefined();
  });

  test("of another split have the classes of the training data", async () => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, FOLDERS);
    const { classes } = await opened(folder);
    const valid = await opened(folder, "valid", [...classes]);
    expect([valid.classes, [...valid.labels]]).toEqual([classes, [1]]);
    const refusal = await refusalOf(() => opened(folder, "valid", ["ant"]));
    expect(refusal.message).toContain('"zebra" is none of the 1 known classes');
  });

  test("are refused where there are none, or no images, or two splits of one kind", async () => {
    await using folder = await TemporaryFolder.create();
    expect((await refusalOf(() => openImages({ data: folder.at("none"), split: "train" }))).code).toBe("file");
    await plant(folder.path, { "train/x.jpg": "" });
    expect((await refusalOf(() => opened(folder))).message).toContain("no class folders");
    await plant(folder.path, { "train/cat/x.txt": "" });
    expect((await refusalOf(() => opened(folder))).message).toContain("no images");
    await plant(folder.path, { "train.csv": "path,label\n" });
    expect((await refusalOf(() => opened(folder))).message).toContain("is there twice");
    expect(await hasSplit({ data: folder.path, split: "train" })).toBe(true);
    expect(await hasSplit({ data: folder.path, split: "valid" })).toBe(false);
    expect(await hasSplit({ data: folder.path, split: "train", dataset: "MNIST" })).toBe(true);
    expect(await hasSplit({ data: folder.path, split: "valid", dataset: "MNIST" })).toBe(false);
  });
});

describe("a set by name, numbered", () => {
  test("has its names where labels are numbers, and images as they lie", async () => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, {
      "train.csv": "path,label\n1.jpg,1\n0.jpg,0\n",
      "0.jpg": "",
      "1.jpg": "",
      "valid/pale_rose/x.jpg": "",
    });
    const open = (split: "train" | "valid", classes?: readonly string[]) =>
      openImages({ data: folder.path, split, dataset: "flowers102", classes });
    const set = await open("train");
    expect([set?.classes.slice(0, 2), [...(set?.labels ?? [])]]).toEqual([
      ["pink primrose", "hard-leaved pocket orchid"],
      [1, 0],
    ]);
    expect([set?.texts, set?.upright]).toEqual([set?.classes, false]);
    const named = await open("valid");
    expect([named?.classes, named?.texts]).toEqual([["pale_rose"], ["pale_rose"]]);
    expect((await refusalOf(() => open("valid", set?.classes))).message).toContain("its 1 classes are not the 102");
    expect(await openImages({ data: folder.path, split: "test", dataset: "MNIST" })).toBeUndefined();
    // Oxford counts from 1.
    await Bun.write(folder.at("train.csv"), "path,label\n1.jpg,2\n0.jpg,1\n");
    expect(await refusalOf(() => open("train"))).toMatchObject({
      code: "data",
      message: `${folder.at("train.csv")}: its classes are the numbers 1, 2 …, not 0 to 101 in their order`,
    });
  });
});

describe("a set by name", () => {
  const open = (folder: TemporaryFolder, dataset: string, classes?: readonly string[]) =>
    openImages({ data: folder.path, split: "train", dataset, classes });

  test("has the names of the paper's code for those of its folders", async () => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, { "train/SeaLake/a.jpg": "", "train/Forest/b.jpg": "", "train/old_farm/c.jpg": "" });
    const eurosat = await open(folder, "eurosat");
    expect([eurosat?.classes, eurosat?.texts, eurosat?.upright]).toEqual([
      eurosat?.texts,
      ["forest", "lake or sea", "old_farm"],
      false,
    ]);
    expect((await refusalOf(() => open(folder, "eurosat", ["forest"]))).message).toContain("are not the 1");
    const dtd = await open(folder, "DTD");
    expect([dtd?.classes, dtd?.texts]).toEqual([
      ["Forest", "SeaLake", "old_farm"],
      ["Forest", "SeaLake", "old farm"],
    ]);
    expect((await refusalOf(() => open(folder, "x"))).code).toBe("usage");
  });

  test("whose classes have an order of their own must have all of them", async () => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, { "train/AD/a.jpg": "", "train/AE/b.jpg": "" });
    const refusal = await refusalOf(() => open(folder, "Country211"));
    expect(refusal.message).toBe(`${folder.at("train")}: 2 classes, and the set has 211`);
    const all = Array.from({ length: 211 }, (_, i) => [
      `train/${String.fromCharCode(65 + i / 26, 65 + (i % 26))}/a.jpg`,
      "",
    ]);
    await using whole = await TemporaryFolder.create();
    await plant(whole.path, Object.fromEntries(all));
    const set = await open(whole, "Country211");
    expect([set?.classes.length, set?.classes[0], set?.classes.at(-1)]).toEqual([211, "Andorra", "Zimbabwe"]);
  });
});

describe("lists", () => {
  test.each([
    ["codes", ["4011", "4012", "4011"], ["4011", "4012"], [0, 1, 0]],
    ["years, in the order of numbers", ["2001", "1999", "10000"], ["1999", "2001", "10000"], [1, 0, 2]],
    ["numbers from 1", ["2", "1", "3"], ["1", "2", "3"], [1, 0, 2]],
    ["padded numbers", ["00", "01", "07"], ["00", "01", "07"], [0, 1, 2]],
    ["numbers from 0", ["2", "0", "3"], ["0", "1", "2", "3"], [2, 0, 3]],
  ])("have %s as labels", async (_, given, classes, labels) => {
    await using folder = await TemporaryFolder.create();
    const lines = given.map((label, i) => `${i}.jpg,${label}\n`);
    const files = Object.fromEntries(given.map((_, i) => [`${i}.jpg`, ""]));
    await plant(folder.path, { ...files, "train.csv": `path,label\n${lines.join("")}` });
    const set = await opened(folder);
    expect([set.classes, [...set.labels]]).toEqual([classes, labels]);
    // Classes that are called by numbers have no places that other numbers could mean.
    await plant(folder.path, { "valid.csv": "path,label\n0.jpg,4\n" });
    expect((await refusalOf(() => opened(folder, "valid", set.classes))).message).toContain('label "4" is none of');
  });

  test("have names or numbers as labels", async () => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, {
      "train.csv": "path,label,more\nb/1.jpg,dog,x\na 2.jpg,cat,y\nb/3.jpg,dog,\n",
      "valid.jsonl": '{"path": "b/1.jpg", "label": 2}\n{"path": "b/2.jpg", "label": 0}\n',
      "b/1.jpg": "",
      "b/2.jpg": "",
      "b/3.jpg": "",
      "a 2.jpg": "",
    });
    expect(await filesOf(await opened(folder))).toEqual(["1.jpg dog", "a 2.jpg cat", "3.jpg dog"]);
    const numbers = await opened(folder, "valid");
    expect([numbers.classes, [...numbers.labels]]).toEqual([
      ["0", "1", "2"],
      [2, 0],
    ]);
    expect(await filesOf(await opened(folder, "valid", ["x", "y", "z"]))).toEqual(["1.jpg z", "2.jpg x"]);
    expect((await refusalOf(() => opened(folder, "valid", ["x", "y"]))).message).toContain("line 1: label 2");
    expect((await refusalOf(() => opened(folder, "train", ["dog"]))).message).toContain('line 3: label "cat"');
  });

  test.each([
    ["../x.jpg", "outside"],
    ["/etc/passwd", "outside"],
    ["a/../../x.jpg", "outside"],
    ["", "no path"],
    [".", "outside"],
  ])("cannot name %j", async (path, told) => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, { "train.jsonl": JSON.stringify({ path, label: "a" }) });
    expect((await refusalOf(() => opened(folder))).message).toContain(`train.jsonl: line 1: `);
    expect((await refusalOf(() => opened(folder))).message).toContain(told);
  });

  test("cannot reach out through a link", async () => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, { "data/train.csv": "path,label\nlink.jpg,a\n", "secret.jpg": "" });
    await symlink(folder.at("secret.jpg"), folder.at("data", "link.jpg"));
    const set = await openImages({ data: folder.at("data"), split: "train" });
    expect((await refusalOf(() => set?.source(0))).message).toContain("leads out of the list's folder");
  });

  test("may name the images of a folder beside them that has no folders of classes", async () => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, { "train.csv": "path,label\ntrain/1.jpg,dog\n", "train/1.jpg": "" });
    expect(await filesOf(await opened(folder))).toEqual(["1.jpg dog"]);
    await plant(folder.path, { "train/dog/1.jpg": "" });
    const paths = ["train.csv", "train"].map((name) => folder.at(name)).join(" and ");
    expect((await refusalOf(() => opened(folder))).message).toEndWith(`is there twice: ${paths}`);
  });

  test("need a label", async () => {
    await using folder = await TemporaryFolder.create();
    await plant(folder.path, { "train.csv": "path,name\nx.jpg,a\n" });
    expect((await refusalOf(() => opened(folder))).message).toContain("line 2: no label");
  });
});

test("images apart from a folder's splits are a folder of classes, a list or parquet; each set names its files", async () => {
  await using folder = await TemporaryFolder.create();
  const csv = "path,label\nzebra/2.PNG,zebra\nAnt_eater/a.jpeg,Ant_eater\n";
  await plant(folder.path, { ...FOLDERS, "train/list.csv": csv, "some.parquet": setFile("named.parquet") });
  const classes = ["zebra", "Ant_eater", "\uFF5E", "\u{1F600}"];
  const whole = await openImagePart(folder.at("train"), classes);
  expect([...whole.labels]).toEqual([1, 1, 0, 0, 2, 3]);
  expect(whole.files.map((file) => basename(file))).toEqual(["a.jpeg", "b.webp", "10.jpg", "2.PNG", "y.jpg", "x.jpg"]);
  expect(subsetOf(whole, [3, 0]).files.map((file) => basename(file))).toEqual(["2.PNG", "a.jpeg"]);
  const list = await openImagePart(folder.at("train/list.csv"), classes);
  expect([[...list.labels], list.files.length]).toEqual([[0, 1], 2]);
  const foreign = await refusalOf(() => openImagePart(folder.at("some.parquet"), classes));
  expect(foreign.message).toContain("is none of the 4 classes");
  const missing = await refusalOf(() => openImagePart(folder.at("nothing"), classes));
  expect([missing.code, missing.message]).toEqual(["file", expect.stringContaining("no such file or folder")]);
  await plant(folder.path, { "train/empty/": "" });
  const gap = await refusalOf(() => openImages({ data: folder.path, split: "train" }));
  expect(gap.message).toEndWith("train/empty: no images in it");
});

test("a subset has its images in its order", async () => {
  await using folder = await TemporaryFolder.create();
  await plant(folder.path, FOLDERS);
  const set = subsetOf(await opened(folder), [3, 0]);
  expect([[...set.labels], await filesOf(set)]).toEqual([
    [1, 0],
    ["2.PNG zebra", "a.jpeg Ant_eater"],
  ]);
});
