// Experts in MXFP4, of which a checkpoint has blocks and scales.
import { expect, test } from "bun:test";
import { truncate, writeFile } from "node:fs/promises";
import { refusalOf, TemporaryFolder } from "../testing/folder.ts";
import { Checkpoint } from "./checkpoint.ts";
import { bf16ToF32 } from "./numbers.ts";
import { encodeIndex, INDEX_FILE } from "./shards.ts";
import { fileBytes, tensorEntry } from "./testing/files.ts";
import { SafetensorsWriter } from "./writer.ts";

const [EXPERTS, OUT, GROUPS] = [3, 5, 2];
const COUNT = EXPERTS * OUT * GROUPS;
const BLOCKS = Uint8Array.from({ length: COUNT * 16 }, (_, at) => at * 89 + (at >> 4));
const SCALES = Uint8Array.from({ length: COUNT }, (_, at) => [0, 1, 100, 127, 252][at % 5] ?? 0);

interface Stored {
  readonly name: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const blocks: Stored = { name: "a.down_proj_blocks", shape: [EXPERTS, OUT, GROUPS, 16], bytes: BLOCKS };
const scales: Stored = { name: "a.down_proj_scales", shape: [EXPERTS, OUT, GROUPS], bytes: SCALES };

/** A checkpoint of one file for each list of tensors, and an index. */
async function open(folder: TemporaryFolder, ...files: readonly (readonly Stored[])[]): Promise<Checkpoint> {
  const shards = files.map((tensors, at) => ({
    file: `${at}.safetensors`,
    bytes: 0,
    tensors: tensors.map(({ name, shape }) => ({ name, shape, dtype: "U8" as const })),
  }));
  for (const [at, { file, tensors }] of shards.entries()) {
    await using writer = await SafetensorsWriter.create(folder.at(file), tensors);
    for (const { name, bytes } of files[at] ?? []) await writer.append(name, bytes);
    await writer.finish();
  }
  await writeFile(folder.at(INDEX_FILE), encodeIndex(shards));
  return await Checkpoint.open(folder.path);
}

/** An E2M1 by its bits, as the specification has it. */
function e2m1(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 3, (bits >> 1) & 3, bits & 1];
  const magnitude = exponent === 0 ? fraction / 2 : (1 + fraction / 2) * 2 ** (exponent - 1);
  return sign === 1 ? -magnitude : magnitude;
}

test("they are one tensor of BF16, transposed, whichever files hold them", async () => {
  await using folder = await TemporaryFolder.create();
  await using checkpoint = await open(folder, [scales], [blocks]);
  expect([...checkpoint.tensors.keys()]).toEqual(["a.down_proj"]);
  const { info } = checkpoint.get("a.down_proj");
  expect(info).toMatchObject({ dtype: "BF16", shape: [EXPERTS, 32 * GROUPS, OUT], bytes: COUNT * 64 });
  const read = new Uint16Array(COUNT * 32);
  await checkpoint.read("a.down_proj", new Uint8Array(read.buffer));
  const wanted = Array.from(read, (_, at) => {
    const [expert, column, row] = [Math.floor(at / (OUT * 64)), Math.floor(at / OUT) % 64, at % OUT];
    const block = (expert * OUT + row) * GROUPS + (column >> 5);
    const both = BLOCKS[block * 16 + ((column & 31) >> 1)] ?? NaN;
    return e2m1(column % 2 === 0 ? both & 15 : both >> 4) * 2 ** ((SCALES[block] ?? NaN) - 127);
  });
  expect(Array.from(read, bf16ToF32)).toEqual(wanted);
  const some = new Uint8Array(700);
  await checkpoint.read("a.down_proj", some, 301);
  expect([...some]).toEqual([...new Uint8Array(read.buffer, 301, 700)]);
});

test("their blocks are those of GGUF, of the matrix as products read it", async () => {
  await using folder = await TemporaryFolder.create();
  await using checkpoint = await open(folder, [blocks, scales]);
  const all = new Uint8Array(COUNT * 17);
  await checkpoint.readBlocks("a.down_proj", all);
  for (let block = 0; block < COUNT; block++) {
    const [scale, ...halves] = all.subarray(block * 17, (block + 1) * 17);
    const own = [...BLOCKS.subarray(block * 16, (block + 1) * 16)].flatMap((both) => [both & 15, both >> 4]);
    expect(scale).toBe(SCALES[block] ?? NaN);
    expect([...halves.map((both) => both & 15), ...halves.map((both) => both >> 4)]).toEqual(own);
  }
  const some = new Uint8Array(100);
  await checkpoint.readBlocks("a.down_proj", some, 23);
  expect([...some]).toEqual([...all.subarray(23, 123)]);
});

test.each([
  ["blocks without scales", [blocks], /"a.down_proj_blocks" has no "a.down_proj_scales"/],
  [
    "scales of other blocks",
    [blocks, { ...scales, shape: [EXPERTS, GROUPS, OUT] }],
    /blocks" is \[3, 5, 2, 16\], and its scales U8 \[3, 2, 5\]/,
  ],
] as const)("%s are refused", async (_, tensors, message) => {
  await using folder = await TemporaryFolder.create();
  const refusal = await refusalOf(async () => open(folder, tensors));
  expect(refusal).toMatchObject({ code: "format", message: expect.stringMatching(message) });
});

test("one file of several, which lacks scales, and a matrix that would fill the memory are refused", async () => {
  await using folder = await TemporaryFolder.create();
  await using _ = await open(folder, [scales], [blocks]);
  expect((await refusalOf(() => Checkpoint.open(folder.at("1.safetensors")))).hint).toStartWith(
    "name the model's folder",
  );
  const count = 2 ** 23 + 1;
  const [shape, end] = [[1, count, 1], 17 * count];
  const header = {
    a_blocks: tensorEntry("U8", [...shape, 16], 0, 16 * count),
    a_scales: tensorEntry("U8", shape, 16 * count, end),
  };
  const bytes = fileBytes(header);
  await writeFile(folder.at("large.safetensors"), bytes);
  await truncate(folder.at("large.safetensors"), bytes.length + end);
  const refusal = await refusalOf(() => Checkpoint.open(folder.at("large.safetensors")));
  expect(refusal.message).toEndWith("a matrix of an expert has more than 268435456 numbers");
});

test("a scale that is not a number is refused where it is read", async () => {
  await using folder = await TemporaryFolder.create();
  await using checkpoint = await open(folder, [blocks, { ...scales, bytes: SCALES.with(7, 255) }]);
  await checkpoint.readBlocks("a.down_proj", new Uint8Array(17));
  for (const read of [
    () => checkpoint.read("a.down_proj", new Uint8Array(2)),
    () => checkpoint.readBlocks("a.down_proj", new Uint8Array(17), 7 * 17),
  ]) {
    const refusal = await refusalOf(read);
    expect(refusal).toMatchObject({ code: "format", message: expect.stringMatching(/scales" has a scale .* \(255\)/) });
  }
});
