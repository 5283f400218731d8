import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { createHash } from "node:crypto";
import { mkdir, open, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expectedCheckpoint, STORIES } from "../../../fixtures/stories/storyteller.ts";
import { SafetensorsFile } from "./file.ts";
import { widenToF64 } from "./numbers.ts";
import { fileBytes } from "./testing/files.ts";
import { TemporaryFolder, refusalOf } from "../testing/folder.ts";

const stories = join(STORIES, "model.safetensors");

test("a real checkpoint gives the bytes that the reference implementation gives", async () => {
  await using file = await SafetensorsFile.open(stories);
  const { metadata, tensors, sha256, matrix } = await expectedCheckpoint();
  expect(Object.fromEntries(file.header.metadata)).toEqual(metadata);
  const hash = createHash("sha256");
  for (const { name } of file.header.tensors.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    hash.update(name).update(await file.readAll(file.get(name)));
  }
  expect(file.header.tensors).toHaveLength(tensors);
  expect(hash.digest("hex")).toBe(sha256);
  const query = file.get(matrix.name);
  expect(query).toMatchObject({ dtype: "F32", shape: [64, 64], bytes: 16384 });
  const values = new Float64Array(query.elements);
  widenToF64(await file.readAll(query), "F32", values);
  expect(values.reduce((sum, x) => sum + x)).toBeCloseTo(matrix.sum, 9);
  expect(values.reduce((sum, x) => sum + x * x, 0)).toBeCloseTo(matrix.sum_squares, 9);
});

test("a real checkpoint agrees with its own header, read in another way", async () => {
  const bytes = new Uint8Array(await Bun.file(stories).arrayBuffer());
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header: Record<string, { data_offsets: [number, number] }> = JSON.parse(
    new TextDecoder().decode(bytes.subarray(8, 8 + length)),
  );
  await using file = await SafetensorsFile.open(stories);
  expect(file.header.tensors.map(({ name }) => name)).toEqual(Object.keys(header).filter((k) => k !== "__metadata__"));
  for (const tensor of file.header.tensors) {
    const [begin, end] = header[tensor.name]?.data_offsets ?? [0, 0];
    expect(Buffer.compare(await file.readAll(tensor), bytes.subarray(8 + length + begin, 8 + length + end))).toBe(0);
  }
});

test("any range of a tensor is read into the caller's buffer, and nothing outside the tensor", async () => {
  await using folder = await TemporaryFolder.create();
  const data = Uint8Array.from({ length: 100 }, (_, i) => i);
  const header = {
    a: { dtype: "U8", shape: [30], data_offsets: [0, 30] },
    b: { dtype: "I16", shape: [5, 7], data_offsets: [30, 100] },
  };
  await writeFile(folder.at("x.safetensors"), fileBytes(header, data));
  await using file = await SafetensorsFile.open(folder.at("x.safetensors"));
  const tensor = file.get("b");
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: -5, max: 80 }), fc.nat(80), async (start, length) => {
      const out = new Uint8Array(length + 2).fill(0xee);
      const reading = file.read(tensor, out.subarray(1, 1 + length), start);
      if (start < 0 || start + length > 70) {
        expect(await reading.catch((thrown: unknown) => thrown)).toBeInstanceOf(RangeError);
        expect(out.every((byte) => byte === 0xee)).toBe(true);
      } else {
        await reading;
        expect([...out]).toEqual([0xee, ...data.subarray(30 + start, 30 + start + length), 0xee]);
      }
    }),
    { numRuns: 300 },
  );
  expect(await file.read(tensor, new Uint8Array(2), 0.5).catch((thrown: unknown) => thrown)).toBeInstanceOf(RangeError);
  // A tensor of another file, even with the same name, is a mistake of the caller.
  expect(await file.readAll({ ...tensor, offset: 0 }).catch((thrown: unknown) => thrown)).toBeInstanceOf(RangeError);
});

test("a file of 5 GB is read behind 4 GB, with its holes left as holes", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("big.safetensors");
  const far = 5 * 2 ** 30;
  const header = {
    far: { dtype: "U8", shape: [6], data_offsets: [far, far + 6] },
    zeros: { dtype: "F32", shape: [5, 2 ** 28], data_offsets: [0, far] },
  };
  const start = fileBytes(header);
  await writeFile(path, start);
  {
    await using handle = await open(path, "r+");
    await handle.truncate(start.length + far + 6);
    await handle.write(Uint8Array.of(1, 2, 3, 4, 5, 6), 0, 6, start.length + far);
    await handle.write(Uint8Array.of(9), 0, 1, start.length + 2 ** 32 + 1);
  }
  await using file = await SafetensorsFile.open(path);
  expect(file.size).toBe(start.length + far + 6);
  expect([...(await file.readAll(file.get("far")))]).toEqual([1, 2, 3, 4, 5, 6]);
  const out = new Uint8Array(3);
  await file.read(file.get("zeros"), out, 2 ** 32);
  expect([...out]).toEqual([0, 9, 0]);
  await file.read(file.get("zeros"), out, far - 3);
  expect([...out]).toEqual([0, 0, 0]);
});

describe("what cannot be read is refused with the file's name", () => {
  test("a file cut at any byte", async () => {
    await using folder = await TemporaryFolder.create();
    const bytes = fileBytes({ w: { dtype: "F32", shape: [2], data_offsets: [0, 8] } }, new Uint8Array(8));
    for (let length = 0; length < bytes.length; length++) {
      const path = folder.at("cut.safetensors");
      await writeFile(path, bytes.subarray(0, length));
      const refusal = await refusalOf(() => SafetensorsFile.open(path));
      expect(refusal.code).toBe("format");
      expect(refusal.message).toStartWith(`${path}: `);
    }
  });

  test("a file that became shorter after it was opened", async () => {
    await using folder = await TemporaryFolder.create();
    const path = folder.at("x.safetensors");
    const bytes = fileBytes({ w: { dtype: "U8", shape: [100], data_offsets: [0, 100] } }, new Uint8Array(100));
    await writeFile(path, bytes);
    await using file = await SafetensorsFile.open(path);
    await truncate(path, bytes.length - 1);
    await file.read(file.get("w"), new Uint8Array(99));
    const refusal = await refusalOf(() => file.read(file.get("w"), new Uint8Array(100)));
    expect(refusal.code).toBe("file");
    expect(refusal.message).toMatch(/x\.safetensors: the file ended at byte \d+, it has become shorter/);
  });

  test("nothing, a folder, a path below a file, a pipe nobody writes to", async () => {
    await using folder = await TemporaryFolder.create();
    await writeFile(folder.at("file"), "");
    await mkdir(folder.at("folder"));
    await symlink(folder.at("nowhere"), folder.at("link"));
    const cases: [path: string, message: RegExp][] = [
      [folder.at("nothing"), /no such file/],
      [folder.at("folder"), /this is not a file/],
      [folder.at("file", "below"), /a part of this path is a file/],
      [folder.at("link"), /no such file/],
    ];
    if (process.platform !== "win32") {
      await Bun.spawn(["mkfifo", folder.at("pipe")]).exited;
      cases.push([folder.at("pipe"), /this is not a file/]);
    }
    for (const [path, message] of cases) {
      const refusal = await refusalOf(() => SafetensorsFile.open(path));
      expect([refusal.code, refusal.message]).toEqual(["file", expect.stringMatching(message)]);
      expect(refusal.message).toContain(path);
    }
  });

  test("a name that is not there", async () => {
    await using file = await SafetensorsFile.open(stories);
    expect(file.find("lm_head.weight")).toBeUndefined();
    expect((await refusalOf(() => file.get("x\n"))).message).toBe(`${stories}: no tensor "x\\n"`);
  });
});

test("a closed file is closed once", async () => {
  const file = await SafetensorsFile.open(stories);
  await file.close();
  await file.close();
  expect((await refusalOf(() => file.readAll(file.get("model.norm.weight")))).code).toBe("file");
});
