import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import type { StoredDataSet } from "./store.ts";
import { describe, expect, test } from "bun:test";
import { link, symlink } from "node:fs/promises";
import { resolve } from "node:path";
import { type DataChoice, locateData } from "./files.ts";
import { loadTrainingData } from "./load.ts";
import { OPTIONS, TOKENIZER } from "./testing/load.ts";
import { splitForValidation } from "../../batches/shuffle.ts";
import { numberedSamples } from "../testing/data.ts";

const A = [{ text: "a" }];
const B = [{ text: "b" }];

test("a file is the training data; a folder has files for each purpose, in any format", async () => {
  await using folder = await TemporaryFolder.with({
    "train.jsonl": A,
    "valid.json": B,
    "test.parquet": "x",
    "more.jsonl": B,
  });
  expect(await locateData({ data: folder.at("train.jsonl") })).toEqual({
    train: [folder.at("train.jsonl")],
    valid: undefined,
    test: undefined,
  });
  const found = {
    train: [folder.at("train.jsonl")],
    valid: [folder.at("valid.json")],
    test: [folder.at("test.parquet")],
  };
  expect(await locateData({ data: folder.path })).toEqual(found);
  const more = folder.at("more.jsonl");
  expect(await locateData({ data: folder.path, valid: more })).toEqual({ ...found, valid: [more] });
});

test.each([
  ["validation.jsonl", "valid"],
  ["val.json", "valid"],
  ["dev.parquet", "valid"],
  ["validation-00000-of-00001.parquet", "valid"],
  ["data/validation-00000-of-00001.parquet", "valid"],
  ["data/validation-00000-of-00001-0123456789abcdef.parquet", "valid"],
  ["testing.jsonl", "test"],
  ["eval.jsonl", "test"],
] as const)("a folder of the Hub's names: %s", async (name, split) => {
  await using folder = await TemporaryFolder.with({ "data/train-00000-of-00001.parquet": "a", [name]: "bc" });
  expect(await locateData({ data: folder.path })).toEqual({
    train: [folder.at("data/train-00000-of-00001.parquet")],
    valid: undefined,
    test: undefined,
    [split]: [folder.at(name)],
  });
});

test("tables and plain text, where there is nothing else to train on", async () => {
  await using folder = await TemporaryFolder.with({ "train.csv": "text\na\n", "valid.txt": "b\n" });
  const found = { train: [folder.at("train.csv")], valid: [folder.at("valid.txt")], test: undefined };
  expect(await locateData({ data: folder.path })).toEqual(found);
  await using other = await TemporaryFolder.with({ "train.jsonl": A, "train.txt": "notes", "valid.csv": "x" });
  const own = { train: [other.at("train.jsonl")], valid: undefined, test: undefined };
  expect(await locateData({ data: other.path })).toEqual(own);
});

test("shards are read as one, of a folder, by a pattern or one by one", async () => {
  const shard = (split: string, index: number) => `data/${split}-0000${index}-of-00002.jsonl`;
  await using folder = await TemporaryFolder.with({
    [shard("train", 1)]: B,
    [shard("train", 0)]: A,
    [shard("validation", 0)]: [{ text: "c" }],
    [shard("validation", 1)]: [{ text: "d" }],
  });
  const of = (split: string) => [0, 1].map((index) => folder.at(shard(split, index)));
  const found = { train: of("train"), valid: of("validation"), test: undefined };
  expect(await locateData({ data: folder.path })).toEqual(found);
  expect(await locateData({ data: folder.at("data/*.jsonl") })).toEqual(found);
  const own = { train: of("train"), valid: undefined, test: undefined };
  expect(await locateData({ data: folder.at("data/train-*") })).toEqual(own);
  expect(await locateData({ data: folder.at("data/train-*"), valid: folder.at("*/valid*") })).toEqual(found);
  expect(await locateData({ data: of("train")[0] ?? "" })).toMatchObject({ train: of("train").slice(0, 1) });
  const data = await loadTrainingData({ data: folder.path }, { ...OPTIONS, seed: 0n });
  const texts = [data.train, data.valid].map((set) =>
    Array.from({ length: set?.length ?? 0 }, (_, i) =>
      TOKENIZER.decode([...(set?.sample(i).ids ?? [])].slice(1, -1)).trim(),
    ),
  );
  expect(texts).toEqual([
    ["a", "b"],
    ["c", "d"],
  ]);
  expect(data.train.path).toBe(`${of("train")[0]} and 1 more`);
});

test("files of a pattern that are named after no split are all trained on; links are followed", async () => {
  await using folder = await TemporaryFolder.with({ "b.jsonl": B, "test.jsonl": A, "sub/x.jsonl": A });
  await symlink(folder.at("sub/x.jsonl"), folder.at("c.jsonl"));
  const train = ["b.jsonl", "c.jsonl", "test.jsonl"].map((name) => folder.at(name));
  expect(await locateData({ data: folder.at("*.jsonl") })).toEqual({ train, valid: undefined, test: undefined });
  await expect(locateData({ data: folder.at("*.csv") })).rejects.toThrow("no file matches this pattern");
});

test("beside a file to train on, data/ is not looked into", async () => {
  await using folder = await TemporaryFolder.with({ "train.jsonl": A, "data/train.json": "[]", "data/valid.jsonl": B });
  const found = await locateData({ data: folder.path });
  expect(found).toEqual({ train: [folder.at("train.jsonl")], valid: undefined, test: undefined });
});

describe("refuses", () => {
  const refuse = async (choice: DataChoice, message: string) => expect(locateData(choice)).rejects.toThrow(message);

  test("what is not there, or there twice", async () => {
    await using folder = await TemporaryFolder.with({ "train.json": "[]", "train.jsonl": A });
    await using other = await TemporaryFolder.with({ "data.jsonl": A });
    await refuse({ data: folder.path }, "both train.jsonl and train.json are there");
    await refuse({ data: other.path }, "no train.jsonl (nor .json, .parquet, .csv, .tsv or .txt)");
    await refuse({ data: other.at("none.jsonl") }, "no such file");
    await refuse({ data: other.at("data.jsonl"), valid: other.at("none.jsonl") }, "no such file");
    await refuse({ data: other.at("data.jsonl"), valid: other.path }, "a folder, not a file");
  });

  test("splits that are there under two names, or whose shards are not all there", async () => {
    await using folder = await TemporaryFolder.with({ "train.jsonl": A, "valid.jsonl": B, "validation.jsonl": B });
    await refuse({ data: folder.path }, "both valid.jsonl and validation.jsonl are there");
    await using shards = await TemporaryFolder.with({
      "train-00000-of-00003.parquet": "a",
      "train-00001-of-00003.parquet": "b",
    });
    await refuse({ data: shards.path }, "1 of 3 shards are missing, the first: train-00002-of-00003.parquet");
    await Bun.write(shards.at("train-00000-of-00002.parquet"), "a");
    await refuse({ data: shards.path }, "shards of 2 and of 3 beside each other");
    await using mixed = await TemporaryFolder.with({
      "train-00000-of-00001.parquet": "a",
      "train-00000-of-00001.jsonl": A,
    });
    await refuse({ data: mixed.path }, "both train-00000-of-00001.jsonl and train-00000-of-00001.parquet are there");
    await using both = await TemporaryFolder.with({ "train.jsonl": A, "test.jsonl": B, "eval.jsonl": B });
    expect((await locateData({ data: both.path })).test).toEqual([both.at("test.jsonl")]);
  });

  test("what may be a dataset of the Hub, with how to fetch it", async () => {
    for (const name of [
      "trl-lib/Capybara",
      "https://huggingface.co/datasets/trl-lib/Capybara",
      "hf://datasets/trl-lib/Capybara",
    ]) {
      const { hint } = await refusalOf(() => locateData({ data: resolve(name) }));
      expect(hint).toContain("hf download trl-lib/Capybara --repo-type dataset --local-dir Capybara");
    }
    for (const name of ["none.jsonl", "no/train.csv", "src/none"]) {
      expect((await refusalOf(() => locateData({ data: resolve(name) }))).hint).toBe("check the path");
    }
  });

  test("validation data that one shard holds", async () => {
    const shards = { "train-00000-of-00002.jsonl": A, "train-00001-of-00002.jsonl": B };
    await using folder = await TemporaryFolder.with({ ...shards, "valid.jsonl": B });
    await refuse({ data: folder.path }, "holds the same as the training file");
  });

  test("two sources of validation data", async () => {
    await using folder = await TemporaryFolder.with({ "train.jsonl": A, "valid.jsonl": B });
    const data = folder.at("train.jsonl");
    await refuse({ data: folder.path, validSplit: 0.1 }, "the validation data is");
    await refuse({ data, valid: folder.at("valid.jsonl"), validSplit: 0.1 }, "--valid-split");
  });

  test("validation on the training data: the same name, a link to it, a copy of it", async () => {
    await using folder = await TemporaryFolder.with({ "train.jsonl": A, "copy.jsonl": A, "other.jsonl": B });
    const data = folder.at("train.jsonl");
    await symlink(data, folder.at("symbolic.jsonl"));
    await link(data, folder.at("hard.jsonl"));
    for (const name of ["train.jsonl", "symbolic.jsonl", "hard.jsonl"]) {
      await refuse({ data, valid: folder.at(name) }, "is the training file");
    }
    await refuse({ data, valid: folder.at("copy.jsonl") }, "holds the same as the training file");
    expect((await locateData({ data, valid: folder.at("other.jsonl") })).valid).toEqual([folder.at("other.jsonl")]);
  });

  test("two files of a split, where that split is asked for", async () => {
    await using folder = await TemporaryFolder.with({
      "train.jsonl": A,
      "valid.jsonl": B,
      "validation.jsonl": B,
      "test.jsonl": A,
      "test.parquet": "a",
    });
    const valid = folder.at("valid.jsonl");
    await refuse({ data: folder.path, withoutTest: true }, "both valid");
    await refuse({ data: folder.path, valid }, "both test");
    expect(await locateData({ data: folder.path, valid, withoutTest: true })).toMatchObject({
      valid: [valid],
      test: undefined,
    });
  });
});

test.if(process.platform !== "win32")("a pipe is told from a file", async () => {
  await using folder = await TemporaryFolder.with({ "train.jsonl": A });
  const pipe = folder.at("pipe");
  expect(Bun.spawnSync(["mkfifo", pipe]).exitCode).toBe(0);
  await expect(locateData({ data: pipe })).rejects.toThrow("it is a pipe, not a file");
  await expect(locateData({ data: folder.at("train.jsonl"), valid: pipe })).rejects.toThrow("it is a pipe");
  await symlink(pipe, folder.at("test.jsonl"));
  await expect(locateData({ data: folder.path })).rejects.toThrow("test.jsonl: it is a pipe, not a file");
  await symlink("/dev/zero", folder.at("valid.jsonl"));
  await expect(locateData({ data: folder.path })).rejects.toThrow("valid.jsonl: it is a device, not a file");
});

describe("a split", () => {
  const split = (set: StoredDataSet, fraction: number, seed: bigint) => {
    const { train, valid } = splitForValidation(set.length, fraction, seed, set.path);
    return { train: set.select(train), valid: set.select(valid) };
  };
  const data = numberedSamples([4, 4, 4, 4, 4, 4, 4, 4, 4, 4]);
  const lines = (set: { length: number; sample(i: number): { line: number } }) =>
    Array.from({ length: set.length }, (_, i) => set.sample(i).line);

  test("is disjoint, complete, in file order, and decided by the seed", () => {
    const { train, valid } = split(data, 0.3, 5n);
    expect(valid.length).toBe(3);
    expect([...lines(train), ...lines(valid)].toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for (const part of [train, valid]) expect(lines(part)).toEqual(lines(part).toSorted((a, b) => a - b));
    expect(lines(split(data, 0.3, 5n).valid)).toEqual(lines(valid));
    expect(lines(split(data, 0.3, 6n).valid)).not.toEqual(lines(valid));
    const line = valid.sample(0).line;
    expect([...valid.sample(0).ids]).toEqual([...data.sample(line - 1).ids]);
    expect(valid.totals).toMatchObject({ samples: 3, tokens: 12, supervisedTokens: 6 });
  });

  test("leaves at least one sample on either side", () => {
    expect(split(data, 0.001, 0n).valid.length).toBe(1);
    expect(split(data, 0.999, 0n).train.length).toBe(1);
    expect(() => split(numberedSamples([4]), 0.5, 0n)).toThrow("one sample cannot be split");
    for (const fraction of [0, 1, Number.NaN]) expect(() => split(data, fraction, 0n)).toThrow("--valid-split");
  });
});
