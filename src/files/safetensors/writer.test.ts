import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { readFile, writeFile } from "node:fs/promises";
import { SafeTensor } from "safetensors";
import { DTYPES } from "./dtype.ts";
import { SafetensorsFile } from "./file.ts";
import { encodeHeader, type Metadata, plannedBytes, type PlannedTensor, SafetensorsWriter } from "./writer.ts";
import { fileBytes } from "./testing/files.ts";
import { TemporaryFolder, refusalOf } from "../testing/folder.ts";

/** Bytes that differ from tensor to tensor and from place to place. */
function contents(tensor: PlannedTensor, salt: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: plannedBytes(tensor) }, (_, i) => salt * 31 + i * 7);
}

async function write(
  path: string,
  tensors: readonly PlannedTensor[],
  piece: number,
  metadata?: Metadata,
): Promise<void> {
  await using writer = await SafetensorsWriter.create(path, tensors, metadata);
  for (const [salt, tensor] of tensors.entries()) {
    const bytes = contents(tensor, salt);
    for (let at = 0; at < bytes.length; at += piece) await writer.append(tensor.name, bytes.subarray(at, at + piece));
  }
  await writer.finish();
  expect(writer.written).toBe(writer.size);
}

const names = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.constantFrom("10", "2", "__proto__", "a.b", 'quote"', "back\\slash", "new\nline"),
);
const plans = fc.uniqueArray(
  fc.record({
    name: names.filter((name) => name !== "__metadata__"),
    dtype: fc.constantFrom(...DTYPES),
    shape: fc.array(fc.nat(4), { maxLength: 3 }),
  }),
  { selector: ({ name }) => name, maxLength: 5 },
);

test("what is written is read back, in any pieces, and the data starts at a multiple of 8", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("x.safetensors");
  const texts = fc.dictionary(fc.string(), fc.string({ unit: "grapheme" }), { maxKeys: 3 });
  await fc.assert(
    fc.asyncProperty(plans, texts, fc.integer({ min: 1, max: 50 }), async (tensors, text, piece) => {
      const metadata = new Map(Object.entries(text));
      await write(path, tensors, piece, metadata);
      await using file = await SafetensorsFile.open(path);
      expect(file.header.dataStart % 8).toBe(0);
      expect([...file.header.metadata].toSorted()).toEqual([...metadata].toSorted());
      expect(file.header.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape }))).toEqual(tensors);
      for (const [salt, tensor] of tensors.entries()) {
        expect(await file.readAll(file.get(tensor.name))).toEqual(contents(tensor, salt));
      }
    }),
    { numRuns: 150 },
  );
});

test("npm's safetensors reads what we write without metadata", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("x.safetensors");
  const tensors: PlannedTensor[] = DTYPES.map((dtype, i) => ({ name: `layer.${dtype}`, dtype, shape: [i, 3] }));
  await write(path, tensors, 5);
  const peer = new SafeTensor(new Uint8Array(await Bun.file(path).arrayBuffer()));
  expect([...peer.metadata.keys()]).toEqual(tensors.map(({ name }) => name));
  for (const [salt, tensor] of tensors.entries()) {
    expect(peer.metadata.get(tensor.name)).toMatchObject({ dtype: tensor.dtype, shape: [...tensor.shape] });
    expect([...peer.getTensor(tensor.name)]).toEqual([...contents(tensor, salt)]);
  }
});

test("a small file has exactly the bytes that the reference implementation writes", async () => {
  // safetensors.numpy.save({"a": float32 [1, -2]}, {"format": "pt"})
  const header = '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}   ';
  const data = new Uint8Array(Float32Array.of(1, -2).buffer);
  await using folder = await TemporaryFolder.create();
  await using writer = await SafetensorsWriter.create(
    folder.at("x"),
    [{ name: "a", dtype: "F32", shape: [2] }],
    new Map([["format", "pt"]]),
  );
  expect(await writer.appendBeside("a", 8, async () => {})).toBe(false);
  await writer.append("a", data);
  await writer.finish();
  expect(new Uint8Array(await readFile(folder.at("x")))).toEqual(fileBytes(header, data));
});

test("tensors are copied from file to file byte for byte, whatever the buffer", async () => {
  await using folder = await TemporaryFolder.create();
  const tensors: PlannedTensor[] = [
    { name: "a", dtype: "BF16", shape: [3, 41] },
    { name: "none", dtype: "F32", shape: [0] },
    { name: "b", dtype: "U8", shape: [1] },
    { name: "c", dtype: "F64", shape: [64] },
  ];
  await write(folder.at("from"), tensors, 64);
  await using source = await SafetensorsFile.open(folder.at("from"));
  for (const size of [2, 3, 17, 64, 1024]) {
    await using writer = await SafetensorsWriter.create(folder.at("to"), source.header.byOffset);
    const buffer = new Uint8Array(size);
    for (const tensor of source.header.byOffset) await writer.copy(source, tensor, buffer);
    await writer.finish();
    expect((await readFile(folder.at("to"))).equals(await readFile(folder.at("from")))).toBe(true);
  }
});

test("a copy tells of each piece, and ends when it is told to", async () => {
  await using folder = await TemporaryFolder.create();
  const tensor: PlannedTensor = { name: "a", dtype: "U8", shape: [10] };
  await using first = await SafetensorsWriter.create(folder.at("from"), [tensor]);
  await first.append("a", Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  await first.finish();
  await using source = await SafetensorsFile.open(folder.at("from"));
  const pieces: number[] = [];
  await using whole = await SafetensorsWriter.create(folder.at("whole"), [tensor]);
  await whole.copy(source, source.get("a"), new Uint8Array(8), (bytes) => pieces.push(bytes));
  expect(pieces).toEqual([4, 4, 2]);
  await whole.finish();
  await using part = await SafetensorsWriter.create(folder.at("part"), [tensor]);
  const start = part.written;
  const copying = part.copy(source, source.get("a"), new Uint8Array(8), () => {
    if (part.written > start) throw new Error("stopped");
  });
  await expect(copying).rejects.toThrow("stopped");
  expect(part.written - start).toBe(4);
});

const one = (name: string, shape: readonly number[]): PlannedTensor => ({ name, dtype: "F32", shape });

describe("a file that would not be what was planned is not finished", () => {
  const tensors: PlannedTensor[] = [
    { name: "a", dtype: "U8", shape: [4] },
    { name: "none", dtype: "U8", shape: [0] },
    { name: "b", dtype: "U8", shape: [2] },
  ];

  async function failure(work: (writer: SafetensorsWriter) => Promise<void>): Promise<unknown> {
    await using folder = await TemporaryFolder.create();
    await using writer = await SafetensorsWriter.create(folder.at("x"), tensors);
    try {
      await work(writer);
      return undefined;
    } catch (thrown) {
      return thrown;
    }
  }

  test("bytes missing", async () => {
    expect(String(await failure((writer) => writer.finish()))).toMatch(/only 0 of 4 bytes of "a"/);
    const half = await failure(async (writer) => {
      await writer.append("a", new Uint8Array(4));
      await writer.append("b", new Uint8Array(1));
      await writer.finish();
    });
    expect(String(half)).toMatch(/only 1 of 2 bytes of "b"/);
  });

  test("bytes too many, out of order, or not planned", async () => {
    expect(await failure((writer) => writer.append("a", new Uint8Array(5)))).toBeInstanceOf(RangeError);
    expect(await failure((writer) => writer.append("b", new Uint8Array(1)))).toBeInstanceOf(RangeError);
    expect(await failure((writer) => writer.append("x", new Uint8Array(1)))).toBeInstanceOf(RangeError);
    const again = await failure(async (writer) => {
      await writer.append("a", new Uint8Array(4));
      await writer.append("none", new Uint8Array(0));
      await writer.append("b", new Uint8Array(2));
      await writer.append("b", new Uint8Array(1));
    });
    expect(again).toBeInstanceOf(RangeError);
  });

  test("everything there, empty tensors without a call", async () => {
    const result = await failure(async (writer) => {
      await writer.append("a", new Uint8Array(4));
      await writer.append("b", new Uint8Array(2));
      await writer.finish();
    });
    expect(result).toBeUndefined();
  });

  test("names and shapes that no header can hold", async () => {
    for (const plan of [
      [one("a", [1]), one("a", [2])],
      [one("__metadata__", [1])],
      [one("\ud800", [1])],
      [one("a", [-1, -1])],
      [one("a", [0.5])],
      [one("a", [2 ** 27, 2 ** 27])],
      [one("a", [2 ** 50]), one("b", [2 ** 50])],
    ]) {
      expect((await refusalOf(() => encodeHeader(plan))).code).toBe("format");
    }
  });
});

test("an unwritable place is refused with its name", async () => {
  await using folder = await TemporaryFolder.create();
  await writeFile(folder.at("file"), "");
  for (const path of [folder.at("file", "x"), folder.at("none", "x"), folder.path]) {
    const refusal = await refusalOf(() => SafetensorsWriter.create(path, []));
    expect([refusal.code, refusal.message]).toEqual(["file", expect.stringContaining(`cannot write ${path}: `)]);
  }
});
