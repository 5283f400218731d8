import { describe, expect, test } from "bun:test";
import { RandloraError } from "../errors.ts";
import { MAX_HEADER_BYTES, parseHeaderLength, shapeElements } from "./header.ts";
import { fileBytes, parseFile as parse, tensorEntry as tensor } from "./testing/files.ts";
import { refusalOf } from "../testing/folder.ts";

const data = (length: number) => new Uint8Array(length);
describe("a valid header", () => {
  test("gives names, types, shapes and absolute offsets in both orders", () => {
    const text = `{"z":{"dtype":"F32","shape":[1],"data_offsets":[6,10]}, "__metadata__":{"format":"pt"},
      "7":{"data_offsets":[0,6],"dtype":"BF16","shape":[3,1]}, "empty":{"dtype":"I64","shape":[0,5],"data_offsets":[6,6]},
      "s":{"dtype":"U8","shape":[],"data_offsets":[10,11]}}  `;
    const header = parse(fileBytes(text, data(11)));
    const start = 8 + text.length;
    expect(header.dataStart).toBe(start);
    expect(header.tensors.map(({ name }) => name)).toEqual(["z", "7", "empty", "s"]);
    expect(header.byOffset.map(({ name }) => name)).toEqual(["7", "empty", "z", "s"]);
    expect(header.byOffset[0]).toEqual({
      name: "7",
      dtype: "BF16",
      shape: [3, 1],
      elements: 3,
      offset: start,
      bytes: 6,
    });
    expect(header.tensors[3]).toMatchObject({ name: "s", shape: [], elements: 1, offset: start + 10, bytes: 1 });
    expect([...header.metadata]).toEqual([["format", "pt"]]);
  });

  test("may hold no tensor, a null metadata, and names that objects have by themselves", () => {
    expect(parse(fileBytes("{}")).tensors).toEqual([]);
    expect(parse(fileBytes('{"__metadata__":null}')).metadata.size).toBe(0);
    const text =
      '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"toString":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}';
    expect(parse(fileBytes(text, data(2))).tensors.map(({ name }) => name)).toEqual(["__proto__", "toString"]);
  });
});

describe("a bad header is refused, the tensor and the cause named", () => {
  const cases: readonly [what: string, bytes: Uint8Array, message: RegExp][] = [
    ["an empty file", data(0), /0 bytes are too short/],
    ["less than a length", data(7), /7 bytes are too short/],
    [
      "a header longer than the file",
      new Uint8Array([100, 0, 0, 0, 0, 0, 0, 0, 0x7b]),
      /header of 100 bytes does not fit in a file of 9/,
    ],
    [
      "a header beyond the cap",
      new Uint8Array([1, 0, 0, 0, 1, 0, 0, 0, 0x7b]),
      /header of 4294967297 bytes is longer than/,
    ],
    ["a length near 2^64", new Uint8Array(9).fill(255), /header of 18446744073709551615 bytes/],
    ["no header", fileBytes("", data(3)), /does not start with \{/],
    ["garbage", fileBytes("hello"), /does not start with \{/],
    ["space before the header", fileBytes(" {}"), /does not start with \{/],
    ["an array", fileBytes("[]"), /does not start with \{/],
    ["broken JSON", fileBytes('{"a":'), /not JSON/],
    ["NUL padding", fileBytes("{}\0\0"), /not JSON/],
    ["two objects", fileBytes("{}{}"), /not JSON/],
    ["bytes that are not UTF-8", fileBytes(""), /does not start/],
    [
      "a tensor twice",
      fileBytes(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        data(1),
      ),
      /names "a" twice/,
    ],
    [
      "a key twice in a tensor",
      fileBytes('{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}', data(1)),
      /names "a" \/ "dtype" twice/,
    ],
    ["arrays in arrays", fileBytes('{"a":{"shape":[[]]}}'), /nests more arrays and objects than tensors need/],
    ["many arrays", fileBytes(`{"a":[],${'"b":[],'.repeat(40)}"c":[]}`), /nests more arrays and objects/],
    ["metadata twice", fileBytes('{"__metadata__":{"k":"1"},"__metadata__":{}}'), /names "__metadata__" twice/],
    ["a metadata number", fileBytes({ __metadata__: { k: 1 } }), /__metadata__ "k" is not a string/],
    ["a metadata list", fileBytes({ __metadata__: [] }), /__metadata__ is not an object/],
    [
      "half a surrogate in a name",
      fileBytes('{"\\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
      /not valid Unicode/,
    ],
    ["a tensor that is a list", fileBytes({ w: [1] }), /tensor "w": its description is not an object/],
    [
      "an unknown key",
      fileBytes({ w: { ...tensor("U8", [1], 0, 1), strides: [1] } }, data(1)),
      /tensor "w": unknown key "strides"/,
    ],
    ["an unknown dtype", fileBytes({ w: tensor("F4", [2], 0, 1) }, data(1)), /tensor "w": unknown dtype "F4"/],
    ["no dtype", fileBytes({ w: { shape: [1], data_offsets: [0, 1] } }, data(1)), /tensor "w": dtype is missing/],
    ["no shape", fileBytes({ w: { dtype: "U8", data_offsets: [0, 1] } }, data(1)), /tensor "w": shape is not/],
    ["no offsets", fileBytes({ w: { dtype: "U8", shape: [1] } }, data(1)), /tensor "w": data_offsets is not/],
    [
      "three offsets",
      fileBytes({ w: { dtype: "U8", shape: [1], data_offsets: [0, 1, 1] } }, data(1)),
      /tensor "w": data_offsets is not/,
    ],
    ["a negative size", fileBytes({ w: tensor("U8", [-1], 0, 1) }, data(1)), /number "-1"/],
    ["two negative sizes", fileBytes({ w: tensor("U8", [-1, -1], 0, 1) }, data(1)), /number "-1"/],
    [
      "a fractional size",
      fileBytes('{"w":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}', data(1)),
      /number "1.0"/,
    ],
    [
      "a size beyond 2^53",
      fileBytes('{"w":{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,1]}}', data(1)),
      /tensor "w": shape is not/,
    ],
    [
      "a product beyond 2^53",
      fileBytes({ w: tensor("U8", [2 ** 27, 2 ** 27], 0, 1) }, data(1)),
      /tensor "w": shape .* is too large/,
    ],
    ["a product that wraps to what is there", fileBytes({ w: tensor("F32", [2 ** 32, 2 ** 32], 0, 0) }), /too large/],
    [
      "a text in the shape",
      fileBytes({ w: { dtype: "U8", shape: ["1"], data_offsets: [0, 1] } }, data(1)),
      /shape is not/,
    ],
    [
      "offsets in the wrong order",
      fileBytes({ w: tensor("U8", [1], 1, 0) }, data(1)),
      /tensor "w": data_offsets end \(0\) before/,
    ],
    [
      "offsets outside the file",
      fileBytes({ w: tensor("U8", [9], 0, 9) }, data(8)),
      /tensor "w": its bytes 0 to 9 lie outside the 8/,
    ],
    [
      "offsets that are too short",
      fileBytes({ w: tensor("F32", [2], 0, 4) }, data(4)),
      /tensor "w": F32 of shape \[2\] takes 8 bytes, but data_offsets give 4/,
    ],
    [
      "an overlap",
      fileBytes({ a: tensor("U8", [4], 0, 4), b: tensor("U8", [4], 3, 7) }, data(7)),
      /tensor "b" overlaps tensor "a"/,
    ],
    [
      "a name that nobody gives",
      fileBytes({ ["a.".repeat(600)]: tensor("U8", [0], 0, 0) }),
      /the name has 1200 characters, more than 1024/,
    ],
    [
      "two tensors of the same bytes",
      fileBytes({ a: tensor("U8", [4], 0, 4), b: tensor("U8", [4], 0, 4) }, data(4)),
      /tensor "b" overlaps tensor "a"/,
    ],
    [
      "a hole",
      fileBytes({ a: tensor("U8", [4], 0, 4), b: tensor("U8", [4], 5, 9) }, data(9)),
      /tensor "b" leaves a hole of 1 bytes after tensor "a"/,
    ],
    [
      "a hole at the start",
      fileBytes({ a: tensor("U8", [4], 1, 5) }, data(5)),
      /tensor "a" leaves a hole of 1 bytes after the header/,
    ],
    [
      "bytes after the last tensor",
      fileBytes({ a: tensor("U8", [4], 0, 4) }, data(6)),
      /the last 2 bytes belong to no tensor/,
    ],
  ];
  for (const [what, bytes, message] of cases) {
    test(what, async () => {
      const refusal = await refusalOf(() => parse(bytes));
      expect(refusal.code).toBe("format");
      expect(refusal.message).toMatch(message);
      expect(refusal.message).toStartWith("x.safetensors: ");
      expect(refusal.message).not.toContain("\n");
    });
  }

  test("invalid UTF-8 inside the header", async () => {
    const bytes = fileBytes('{"a?":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}');
    bytes[bytes.indexOf(0x3f)] = 0xff;
    expect((await refusalOf(() => parse(bytes))).message).toMatch(/not UTF-8/);
  });

  test("a name made to break the terminal is shown on one short line", async () => {
    const name = `evil\n\u001b[31m${"x".repeat(5000)}`;
    const { message } = await refusalOf(() => parse(fileBytes({ [name]: 1 })));
    expect(message.length).toBeLessThan(400);
    expect([...message].every((character) => character >= " ")).toBe(true);
  });

  test("brackets nested a million deep", async () => {
    const text = `{"a":${"[".repeat(1e6)}${"]".repeat(1e6)}}`;
    expect((await refusalOf(() => parse(fileBytes(text)))).code).toBe("format");
  });
});

test("the cap on headers is the reference implementation's", () => {
  expect(MAX_HEADER_BYTES).toBe(100_000_000);
  const first = new Uint8Array(8);
  const view = new DataView(first.buffer);
  view.setBigUint64(0, 100_000_000n, true);
  expect(parseHeaderLength(first, "x", 100_000_008)).toBe(100_000_000);
  view.setBigUint64(0, 100_000_001n, true);
  expect(() => parseHeaderLength(first, "x", 2 ** 40)).toThrow(RandloraError);
});

test("shapeElements is exact up to 2^53 and infinite beyond", () => {
  expect(shapeElements([])).toBe(1);
  expect(shapeElements([3, 0, 5])).toBe(0);
  expect(shapeElements([2 ** 26, 2 ** 26])).toBe(2 ** 52);
  expect(shapeElements([2 ** 27, 2 ** 26])).toBe(Infinity);
});
