import { expect, test } from "bun:test";
import fc from "fast-check";
import { writeFile } from "node:fs/promises";
import { RandloraError } from "../errors.ts";
import { refusalOf, TemporaryFolder } from "../testing/folder.ts";
import type { GgufMetadata, GgufTensor, GgufValue } from "./format.ts";
import { parseGgufHeader, ShortHeader } from "./header.ts";
import { GgufFields } from "./metadata.ts";
import { GgufFile } from "./reader.ts";
import { encodeGgufHeader, GgufWriter } from "./writer.ts";

const METADATA: GgufMetadata = new Map<string, GgufValue>([
  ["general.architecture", { kind: "string", value: "llama" }],
  ["a.u8", { kind: "u8", value: 200 }],
  ["a.i8", { kind: "i8", value: -100 }],
  ["a.u16", { kind: "u16", value: 60_000 }],
  ["a.i16", { kind: "i16", value: -30_000 }],
  ["a.u32", { kind: "u32", value: 4e9 }],
  ["a.i32", { kind: "i32", value: -2e9 }],
  ["a.f32", { kind: "f32", value: 0.5 }],
  ["a.f64", { kind: "f64", value: 0.1 }],
  ["a.u64", { kind: "u64", value: 2 ** 40 }],
  ["a.i64", { kind: "i64", value: -(2 ** 40) }],
  ["a.bool", { kind: "bool", value: true }],
  ["a.texts", { kind: "array", of: "string", value: ["", "▁the", "é"] }],
  ["a.bools", { kind: "array", of: "bool", value: [true, false] }],
  ["a.numbers", { kind: "array", of: "i32", value: [1, -1, 6] }],
]);
const TENSORS: readonly GgufTensor[] = [
  { name: "vector", shape: [3], type: "F32" },
  { name: "blocks", shape: [2, 64], type: "Q8_0" },
  { name: "halves", shape: [5, 2, 3], type: "BF16" },
];

test("a header is the format's, byte for byte", () => {
  const bytes = encodeGgufHeader(new Map([["k", { kind: "u32", value: 7 }]]), [
    { name: "t", shape: [2, 32], type: "Q4_0" },
  ]);
  const u32 = (value: number) => [value, 0, 0, 0];
  const u64 = (value: number) => [value, 0, 0, 0, 0, 0, 0, 0];
  const wanted = [
    [0x47, 0x47, 0x55, 0x46, ...u32(3), ...u64(1), ...u64(1)],
    [...u64(1), 0x6b, ...u32(4), ...u32(7)],
    [...u64(1), 0x74, ...u32(2), ...u64(32), ...u64(2), ...u32(2), ...u64(0)],
  ].flat();
  expect([...bytes]).toEqual([...wanted, ...Array.from({ length: 96 - wanted.length }, () => 0)]);
});

test("what is written is read back, tensors at multiples of 32", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("x.gguf");
  const bytesOf = new Map<string, Uint8Array>();
  await using writer = await GgufWriter.create(path, METADATA, TENSORS);
  for (const [index, { name }] of TENSORS.entries()) {
    const bytes = new Uint8Array([12, 136, 60][index] ?? 0).map((_, at) => (at + 7 * index + 1) % 256);
    bytesOf.set(name, bytes);
    for (let at = 0; at < bytes.length; at += 5) await writer.append(name, bytes.subarray(at, at + 5));
  }
  await writer.finish();
  expect(Bun.file(path).size).toBe(writer.size);
  await using file = await GgufFile.open(path);
  expect([...file.header.metadata]).toEqual([...METADATA]);
  for (const { name, shape, type } of TENSORS) {
    const tensor = file.header.tensors.get(name);
    if (tensor === undefined) throw new Error(name);
    expect(tensor).toMatchObject({ shape, type });
    expect(tensor.offset % 32).toBe(0);
    const out = new Uint8Array(tensor.bytes);
    await file.read(tensor, out);
    expect(out).toEqual(Uint8Array.from(bytesOf.get(name) ?? []));
  }
});

test("a vocabulary larger than the first buffer", () => {
  const value = Array.from({ length: 50_000 }, (_, id) => `token ${id}`);
  const metadata: GgufMetadata = new Map([["t", { kind: "array", of: "string", value }]]);
  const bytes = encodeGgufHeader(metadata, []);
  expect(parseGgufHeader(bytes, "x.gguf", bytes.length).metadata.get("t")).toEqual({
    kind: "array",
    of: "string",
    value,
  });
});

test("missing and unplanned bytes are errors of the program", async () => {
  await using folder = await TemporaryFolder.create();
  await using writer = await GgufWriter.create(folder.at("x.gguf"), new Map(), TENSORS);
  await writer.append("vector", new Uint8Array(11));
  await expect(writer.finish()).rejects.toThrow('only 11 of 12 bytes of "vector"');
  await expect(writer.append("vector", new Uint8Array(2))).rejects.toThrow("more bytes");
  await expect(writer.append("halves", new Uint8Array(2))).rejects.toThrow("is due");
});

test("tensors that are written in any order make the same file, and what is missing or not planned is an error", async () => {
  await using folder = await TemporaryFolder.create();
  const [front, any] = [folder.at("front.gguf"), folder.at("any.gguf")];
  await using writer = await GgufWriter.create(front, METADATA, TENSORS);
  await using spread = await GgufWriter.create(any, METADATA, TENSORS, true);
  const all = TENSORS.map(({ name }, index) => {
    return { name, bytes: new Uint8Array([12, 136, 60][index] ?? 0).map((_, at) => at + index + 1) };
  });
  for (const { name, bytes } of all) await writer.append(name, bytes);
  await writer.finish();
  const pieces = all.flatMap(({ name, bytes }) =>
    [0, 8].map((at) => ({ name, at, bytes: bytes.subarray(at, at === 0 ? 8 : undefined) })),
  );
  for (const { name, at, bytes } of pieces.toReversed().slice(0, -1)) await spread.write(name, bytes, at);
  await expect(spread.finish()).rejects.toThrow('8 bytes of "vector" were not written');
  await expect(spread.write("vector", new Uint8Array(8), 5)).rejects.toThrow("were not planned");
  await spread.write("vector", pieces[0]?.bytes ?? new Uint8Array(), 0);
  await expect(spread.write("vector", new Uint8Array(1), 0)).rejects.toThrow("were not planned");
  await spread.finish();
  expect(await Bun.file(any).bytes()).toEqual(await Bun.file(front).bytes());
});

/** A whole small file. */
function fileOf(tensors: readonly GgufTensor[] = TENSORS): Uint8Array {
  const header = encodeGgufHeader(METADATA, tensors);
  const bytes = new Uint8Array(header.length + 1024);
  bytes.set(header);
  return bytes;
}

test("a file cut anywhere is refused in one line that names it", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("cut.gguf");
  const whole = encodeGgufHeader(METADATA, TENSORS);
  for (let length = 0; length <= whole.length; length += 7) {
    await writeFile(path, whole.subarray(0, length));
    const refusal = await refusalOf(() => GgufFile.open(path));
    expect(refusal.message).toStartWith(`${path}: `);
    expect(refusal.message).not.toContain("\n");
  }
});

test("a file with any bytes changed is read or refused, without a fault of the program", () => {
  const whole = fileOf();
  const end = encodeGgufHeader(METADATA, TENSORS).length;
  const change = fc.record({ at: fc.nat(end - 1), byte: fc.nat(255) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
      const bytes = whole.slice();
      for (const { at, byte } of changes) bytes[at] = byte;
      try {
        parseGgufHeader(bytes, "x.gguf", bytes.length);
      } catch (thrown) {
        if (thrown instanceof ShortHeader) return;
        expect(thrown).toBeInstanceOf(RandloraError);
      }
    }),
    { numRuns: 2000 },
  );
});

test.each<[string, (bytes: Uint8Array, view: DataView) => void, RegExp]>([
  ["another file", (bytes) => bytes.set([1]), /not a GGUF file/],
  ["another byte order", (_, view) => view.setUint32(4, 3), /version 50331648/],
  ["countless tensors", (_, view) => view.setBigUint64(8, 2n ** 40n, true), /1099511627776 tensors/],
  ["a size beyond 2^53", (_, view) => view.setBigUint64(16, 2n ** 63n, true), /a size of 9223372036854775808/],
])("%s is refused", (_, damage, message) => {
  const bytes = fileOf();
  damage(bytes, new DataView(bytes.buffer));
  expect(() => parseGgufHeader(bytes, "x.gguf", bytes.length)).toThrow(message);
});

test("a scale of MXFP4 that is not a number is refused wherever a read of the tensor begins", async () => {
  await using folder = await TemporaryFolder.create();
  const path = folder.at("x.gguf");
  await using writer = await GgufWriter.create(path, new Map(), [{ name: "experts", shape: [1, 64], type: "MXFP4" }]);
  // Halves of bytes may be 255.
  const bytes = new Uint8Array(34).fill(255).fill(120, 0, 1);
  await writer.append("experts", bytes);
  await writer.finish();
  await using file = await GgufFile.open(path);
  const tensor = file.header.tensors.get("experts");
  if (tensor === undefined) throw new Error("no tensor");
  const first = new Uint8Array(17);
  await file.read(tensor, first);
  expect(first).toEqual(bytes.subarray(0, 17));
  for (const start of [0, 1, 17]) {
    const refusal = await refusalOf(() => file.read(tensor, new Uint8Array(18 - start), start));
    expect(refusal).toMatchObject({
      code: "format",
      message: `${path}: "experts" has a scale that is not a number (255)`,
    });
  }
});

test("an array that the file cannot hold takes no memory", () => {
  const bytes = encodeGgufHeader(new Map([["k", { kind: "array", of: "f64", value: [1] }]]), []);
  new DataView(bytes.buffer).setBigUint64(24 + 9 + 8, 2n ** 22n, true);
  expect(() => parseGgufHeader(bytes, "x.gguf", bytes.length)).toThrow(ShortHeader);
});

test("lists of more values than any model has are refused before they are read", () => {
  const bytes = encodeGgufHeader(new Map([["k", { kind: "array", of: "u8", value: [1] }]]), []);
  new DataView(bytes.buffer).setBigUint64(24 + 9 + 8, 2n ** 50n, true);
  expect(() => parseGgufHeader(bytes, "x.gguf", bytes.length)).toThrow('"k": the metadata\'s lists hold more than');
});

test.each([NaN, Infinity, -Infinity])("%p is no number of the metadata", (value) => {
  const fields = new GgufFields(new Map([["k", { kind: "f32", value }]]), "x.gguf");
  expect(() => fields.number("k")).toThrow('x.gguf: metadata entry "k" is not a number');
});

test("tensors that overlap, lie outside or have a type of another program are refused", () => {
  const two: GgufTensor[] = [
    { name: "one", shape: [16], type: "F32" },
    { name: "two", shape: [16], type: "F32" },
  ];
  const bytes = encodeGgufHeader(new Map(), two);
  const file = new Uint8Array(bytes.length + 128);
  file.set(bytes);
  const view = new DataView(file.buffer);
  const second = 24 + 35 + 27; // the offset of the second: header, the first entry, its own name, sizes and type
  expect(view.getBigUint64(second, true)).toBe(64n);
  view.setBigUint64(second, 32n, true);
  expect(() => parseGgufHeader(file, "x.gguf", file.length)).toThrow('tensors "one" and "two" overlap');
  view.setBigUint64(second, 96n, true);
  expect(() => parseGgufHeader(file, "x.gguf", file.length)).toThrow('the file ends before tensor "two" does');
  view.setBigUint64(second, 33n, true);
  expect(() => parseGgufHeader(file, "x.gguf", file.length)).toThrow('tensor "two" is not aligned');
  view.setUint32(second - 4, 12, true);
  expect(() => parseGgufHeader(file, "x.gguf", file.length)).toThrow('tensor "two" is Q4_K, which is not supported');
});
