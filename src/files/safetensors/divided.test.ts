// Tensors that are read, and written again, as several: their rows, one after another.
import { expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { Checkpoint } from "./checkpoint.ts";
import { fingerprint } from "./fingerprint.ts";
import { encodeIndex, INDEX_FILE, planShards } from "./shards.ts";
import { fileBytes } from "./testing/files.ts";
import { SafetensorsWriter } from "./writer.ts";
import { TemporaryFolder } from "../testing/folder.ts";

const HEADER = {
  before: { dtype: "U8", shape: [2], data_offsets: [0, 2] },
  all: { dtype: "U8", shape: [2, 3, 1], data_offsets: [2, 8] },
  behind: { dtype: "U8", shape: [1], data_offsets: [8, 9] },
};
const DIVISIONS = new Map([
  [
    "all",
    [
      { name: "first", shape: [2, 1] },
      { name: "second", shape: [1, 1] },
      { name: "last", shape: [3, 1] },
    ],
  ],
]);

test("its parts are read by ranges, lie in one file of the output, and are the same tensor there", async () => {
  await using folder = await TemporaryFolder.create();
  await writeFile(folder.at("model.safetensors"), fileBytes(HEADER, Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8, 9])));
  await using divided = await Checkpoint.open(folder.path, async () => DIVISIONS);
  const names = ["before", "first", "second", "last", "behind"];
  expect([...divided.tensors.keys()]).toEqual(names);
  const [value, whole] = [new Uint8Array(1), new Uint8Array(6)];
  await divided.read("last", value, 1);
  expect(value[0]).toBe(7);
  // Files of at most 3 bytes: nothing else fits beside all of it.
  const shards = planShards(
    [...divided.tensors.values()].map(({ info }) => info),
    3,
  );
  expect(shards.map(({ tensors }) => tensors.map(({ name }) => name))).toEqual([
    ["before"],
    ["first", "second", "last"],
    ["behind"],
  ]);
  await using out = await TemporaryFolder.create();
  for (const { file, tensors } of shards) {
    await using writer = await SafetensorsWriter.create(out.at(file), tensors);
    for (const tensor of tensors) await writer.copy(divided.get(tensor.name).file, tensor, new Uint8Array(4));
    await writer.finish();
  }
  await writeFile(out.at(INDEX_FILE), encodeIndex(shards));
  await using written = await Checkpoint.open(out.path);
  expect([...written.tensors.values()].map(({ info }) => [info.name, info.shape])).toEqual([
    ["before", [2]],
    ["all", [2, 3, 1]],
    ["behind", [1]],
  ]);
  await written.read("all", whole);
  expect([...whole]).toEqual([3, 4, 5, 6, 7, 8]);
  // An index names what files have.
  await using again = await Checkpoint.open(out.path, async () => DIVISIONS);
  expect([...again.tensors.keys()]).toEqual(names);
  expect(await fingerprint(again)).toBe(await fingerprint(written));
});

test("parts of more or fewer rows than there are cannot be", async () => {
  await using folder = await TemporaryFolder.create();
  await writeFile(folder.at("model.safetensors"), fileBytes(HEADER, new Uint8Array(9)));
  const short = async () => new Map([["all", [{ name: "first", shape: [2, 1] }]]]);
  await expect(Checkpoint.open(folder.path, short)).rejects.toThrow("all has 6 elements, and its parts 2");
});
