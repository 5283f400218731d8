import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { RandloraError } from "../../files/errors.ts";
import { readJsonRecords } from "./json-records.ts";

async function* chunked(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size);
}

/** Lines and fields of a text that arrives in pieces of this many bytes. */
async function read(content: string | Uint8Array, size = 1000): Promise<[number, unknown][]> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const records: [number, unknown][] = [];
  for await (const { line, fields } of readJsonRecords("d.jsonl", chunked(bytes, size))) records.push([line, fields]);
  return records;
}

async function failure(content: string | Uint8Array): Promise<string> {
  try {
    await read(content);
  } catch (error) {
    if (error instanceof RandloraError) return error.message;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("lines", () => {
  test("with a byte order mark, CRLF, blank lines and no newline at the end", async () => {
    expect(await read('\ufeff{"a":1}\r\n\r\n  \t\n{"a":"x\\n"}\n\n{"a":[3]}')).toEqual([
      [1, { a: 1 }],
      [4, { a: "x\n" }],
      [6, { a: [3] }],
    ]);
    expect(await read("")).toEqual([]);
    expect(await read("\n \n")).toEqual([]);
  });

  test("are told by their number when they are broken", async () => {
    expect(await failure('{"a":1}\n\n{"a":\n')).toStartWith("d.jsonl: line 3: not JSON: ");
    expect(await failure('{}\n{"a":1}{"a":2}')).toBe("d.jsonl: line 2: not JSON: there is more behind the first value");
    expect(await failure('{"a":NaN}')).toStartWith("d.jsonl: line 1: not JSON: ");
    expect(await failure('{}\n"text"\n')).toBe("d.jsonl: line 2: a string, not an object with a sample's fields");
    expect(await failure("{}\nnull")).toBe("d.jsonl: line 2: null, not an object with a sample's fields");
    expect(await failure("{}\n[1]")).toBe("d.jsonl: line 2: an array, not an object with a sample's fields");
    expect(await failure(Buffer.from('{}\n{"a":"\xff"}', "latin1"))).toBe(
      "d.jsonl: line 2: not UTF-8: byte 0xff at offset 6",
    );
  });
});

describe("arrays", () => {
  test("begin on any line, and number their elements", async () => {
    expect(await read('\ufeff\n\n [\n{"a": "],\\"["},\n\n{"b": [1,\n{}]} , {"c": 3}\n]\n ')).toEqual([
      [1, { a: '],"[' }],
      [2, { b: [1, {}] }],
      [3, { c: 3 }],
    ]);
    expect(await read("[]")).toEqual([]);
    expect(await read("[\n]\n")).toEqual([]);
  });

  test("are told by the line on which they break off, and by the element that is wrong", async () => {
    expect(await failure('[\n{"a": 1},\n{"a": ')).toBe("d.jsonl: line 3: the JSON array is not closed as it should be");
    expect(await failure('[{"a": 1}]\n]')).toBe("d.jsonl: line 2: the JSON array is not closed as it should be");
    expect(await failure("[\n{},\n\n{a}]")).toStartWith("d.jsonl: element 2 (line 4): not JSON: ");
    expect(await failure("[\n{},\n]")).toStartWith("d.jsonl: element 2 (line 3): not JSON: ");
    expect(await failure("[{},7]")).toBe("d.jsonl: element 2 (line 1): a number, not an object with a sample's fields");
  });
});

test("what is read does not depend on where chunks end", async () => {
  const value = fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 });
  const files = fc.record({
    values: fc.array(value, { maxLength: 5 }),
    indent: fc.integer({ min: 0, max: 2 }),
    size: fc.integer({ min: 1, max: 9 }),
  });
  await fc.assert(
    fc.asyncProperty(files, async ({ values, indent, size }) => {
      const expected: unknown[] = values.map((fields) => ({ ...JSON.parse(JSON.stringify(fields)) }));
      const lines = values.map((fields) => JSON.stringify(fields)).join("\n");
      const array = JSON.stringify(values, null, indent);
      for (const text of [lines, array]) expect((await read(text, size)).map(([, fields]) => fields)).toEqual(expected);
    }),
    { numRuns: 60 },
  );
});

test.each([
  ["a line", '{"a": 1}\n{"text": "'],
  ["an element of an array", '[{"a": 1},\n{"text": "'],
])("%s that does not end is not collected", async (_, begin) => {
  async function* endless(): AsyncGenerator<Uint8Array> {
    yield new TextEncoder().encode(begin);
    const chunk = new Uint8Array(2 ** 22).fill(0x61);
    for (let at = 0; at < 100; at++) yield chunk;
    throw new Error("all of it was read");
  }
  const records = readJsonRecords("d.jsonl", endless());
  expect((await records.next()).value).toMatchObject({ fields: { a: 1 } });
  await expect(records.next()).rejects.toMatchObject({
    code: "data",
    message: "d.jsonl: line 2: a record of more than 64 MiB",
  });
});
