import { expect, test } from "bun:test";
import { rm } from "node:fs/promises";
import fc from "fast-check";
import { RandloraError } from "../../../files/errors.ts";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import { openImagePart, openImages } from "./open.ts";
import { columnsOf, readParquetImages } from "./parquet.ts";
import { opened, plant, setFile } from "./testing/opened.ts";
import type { ImageSet } from "./types.ts";

const digests: string[] = JSON.parse(new TextDecoder().decode(setFile("expected.json"))).parquet;

async function digestsOf(set: ImageSet): Promise<string[]> {
  const sources = await Promise.all(Array.from(set.labels, (_, i) => set.source(i)));
  return sources.map(({ from }) =>
    "bytes" in from ? new Bun.CryptoHasher("sha256").update(from.bytes).digest("hex") : "",
  );
}

test("parquet has names from the Hub's metadata, and images group by group", async () => {
  await using folder = await TemporaryFolder.create();
  await plant(folder.path, { "train.parquet": setFile("named.parquet") });
  const set = await opened(folder);
  expect([set.classes, [...set.labels]]).toEqual([
    ["cat", "dog", "eel"],
    [1, 0, 1, 2, 0],
  ]);
  expect(await digestsOf(set)).toEqual(digests);
  expect((await set.source(4)).name).toEndWith("train.parquet: row 5");
  const other = await opened(folder, "train", ["eel", "dog", "cat"]);
  expect([...other.labels]).toEqual([1, 2, 1, 0, 2]);
  expect((await refusalOf(() => opened(folder, "train", ["cat", "dog"]))).message).toContain('label "eel"');
});

test.each([
  ["image", "label"],
  ["img", "fine_label"],
])("parquet calls its columns %s and %s", (image, label) => {
  const file = (columns: readonly string[]) => columnsOf({ name: "x", columns });
  expect(file(["coarse_label", label, image])).toEqual({ image, label });
  expect(() => file([label])).toThrow(`x: no column image beside "${label}"`);
});

test("parquet says how many bytes of images go to the disk, where memory has no room for them", async () => {
  await using folder = await TemporaryFolder.create();
  await plant(folder.path, { "train.parquet": setFile("named.parquet") });
  const path = folder.at("train.parquet");
  const all = await readParquetImages([path]);
  const sources = await Promise.all(Array.from(all.labels, (_, i) => all.source(i)));
  const bytes = sources.reduce((sum, { from }) => sum + ("bytes" in from ? from.bytes.length : 0), 0);
  expect([all.spilled, bytes > 0]).toEqual([undefined, true]);
  expect((await readParquetImages([path, path], undefined, bytes)).spilled).toBeWithin(2 * bytes, 8 * bytes);
});

test("parquet has labels that are places among its names: names may be numbers, or stand there twice", async () => {
  await using folder = await TemporaryFolder.create();
  /** Of the same length. */
  const withNames = (names: string) => {
    const text = Buffer.from(setFile("named.parquet")).toString("latin1");
    expect(text).toContain('["cat", "dog", "eel"]');
    return Buffer.from(text.replace('["cat", "dog", "eel"]', names), "latin1");
  };
  await plant(folder.path, { "train.parquet": withNames('["1",   "2",   "0"  ]') });
  const numbers = await opened(folder);
  expect([numbers.classes, [...numbers.labels]]).toEqual([
    ["1", "2", "0"],
    [1, 0, 1, 2, 0],
  ]);
  expect([...(await opened(folder, "train", ["0", "1", "2"])).labels]).toEqual([2, 1, 2, 0, 1]);
  await plant(folder.path, { "train.parquet": withNames('["cat", "dog", "cat"]') });
  const twice = await opened(folder);
  expect([...twice.labels]).toEqual([1, 0, 1, 2, 0]);
  expect([...(await opened(folder, "train", [...twice.classes])).labels]).toEqual([...twice.labels]);
  const refusal = await refusalOf(() => opened(folder, "train", ["dog", "cat"]));
  expect(refusal.message).toContain('train.parquet: two of its classes are called "cat"');
});

test("parquet has shards in data/, and labels that are texts", async () => {
  await using folder = await TemporaryFolder.create();
  await plant(folder.path, {
    "data/train-00001-of-00002.parquet": setFile("named.parquet"),
    "data/train-00000-of-00002.parquet": setFile("named.parquet"),
    "data/validation-00000-of-00001-0123456789abcdef.parquet": setFile("texts.parquet"),
    "data/training-00000-of-00001.parquet": "x",
  });
  const set = await opened(folder);
  expect([...set.labels]).toEqual([1, 0, 1, 2, 0, 1, 0, 1, 2, 0]);
  expect(await digestsOf(set)).toEqual([...digests, ...digests]);
  const valid = await opened(folder, "valid");
  expect([valid.classes, [...valid.labels]]).toEqual([["x", "y", "z"].slice(0, 2), [1, 0, 1]]);
  expect(await digestsOf(valid)).toEqual(digests.slice(0, 3));
  const shards = folder.at("data/*-of-0000[12]*.parquet");
  await rm(folder.at("data/training-00000-of-00001.parquet"));
  expect((await openImages({ data: shards, split: "train" }))?.labels).toEqual(set.labels);
  expect((await openImages({ data: shards, split: "valid" }))?.labels).toEqual(valid.labels);
  expect(await openImages({ data: shards, split: "test" })).toBeUndefined();
  expect((await openImagePart(folder.at("data/train-*"), set.classes)).labels).toEqual(set.labels);
});

test.each([
  [["00000-of-00005"], "4 of 5 shards are missing, the first: train-00001-of-00005.parquet"],
  [["00001-of-00003", "00002-of-00003"], "1 of 3 shards are missing, the first: train-00000-of-00003.parquet"],
  [["00000-of-00002", "00001-of-00002", "00000-of-00001"], "shards of 1 and of 2 beside each other"],
])("parquet is refused where the names of %p promise others", async (shards, problem) => {
  await using folder = await TemporaryFolder.create();
  await plant(
    folder.path,
    Object.fromEntries(shards.map((name) => [`data/train-${name}.parquet`, setFile("named.parquet")])),
  );
  const { code, message } = await refusalOf(() => opened(folder));
  expect([code, message]).toEqual(["data", expect.stringContaining(problem)]);
});

test("parquet is refused when broken or without the columns", async () => {
  await using folder = await TemporaryFolder.create();
  await plant(folder.path, { "train.parquet": "PAR1 no" });
  expect((await refusalOf(() => opened(folder))).code).toBe("format");
});

test("parquet survives changed bytes", async () => {
  await using folder = await TemporaryFolder.create();
  const whole = setFile("named.parquet");
  const changes = fc.array(fc.tuple(fc.integer({ min: 1, max: 1400 }), fc.nat(255)), { minLength: 1, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(changes, async (changes) => {
      const bytes = whole.slice();
      // Most of what can go wrong stands at the end: the schema, and where everything is.
      for (const [back, value] of changes) bytes[bytes.length - back] = value;
      await Bun.write(folder.at("train.parquet"), bytes);
      try {
        await digestsOf(await opened(folder));
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(RandloraError);
      }
    }),
    { numRuns: 150 },
  );
});
