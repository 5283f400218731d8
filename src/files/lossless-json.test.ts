import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  fromBigInt,
  isObject,
  type Json,
  JsonNumber,
  keysInOrder,
  parseLossless,
  stringifyLossless,
  toPlain,
} from "./lossless-json.ts";

describe("numbers come back as they were written", () => {
  for (const text of [
    "9007199254740993",
    "-18446744073709551615",
    "640.0",
    "1e-05",
    "1E5",
    "-0",
    "0.1",
    "12",
    "1e400",
  ]) {
    test(text, () => {
      expect(stringifyLossless(parseLossless(`{"key": ${text}}`), 0)).toBe(`{"key":${text}}`);
    });
  }

  test("whatever integer they are", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }), (value) => {
        const read = parseLossless(`[${value}]`);
        expect(stringifyLossless(read, 0)).toBe(`[${value}]`);
        expect(toPlain(read)).toEqual([Number.isSafeInteger(Number(value)) ? Number(value) : value]);
        expect(stringifyLossless([fromBigInt(value)], 0)).toBe(`[${value}]`);
      }),
      { numRuns: 200 },
    );
  });
});

test("an integer beyond 2^53 is a bigint, though a double holds or prints it", () => {
  const texts = ["-9007935422121952", "12345678901234567000"];
  expect(toPlain(parseLossless(`[${texts.join()}]`))).toEqual(texts.map(BigInt));
});

test("everything else is as JSON.parse and JSON.stringify have it", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 3 }), (text) => {
      const plain: unknown = JSON.parse(text);
      const read = parseLossless(text);
      expect(JSON.parse(stringifyLossless(read))).toEqual(plain);
    }),
    { numRuns: 200 },
  );
});

test("keys come back in their order, integer-like ones too, at any depth", () => {
  const text = '{"b":{"x":1,"0":[[],{"7":1.0,"a":{"1":{},"0":{}},"\\u0035":2}]},"3":null,"a":1}';
  const read = parseLossless(text);
  expect(stringifyLossless(read, 0)).toBe(text.replace("\\u0035", "5"));
  expect(keysInOrder(toPlain(read) as object)).toEqual(["b", "3", "a"]);
  expect(keysInOrder(parseLossless('{"2":1,"1":2,"2":3}') as object)).toEqual(["2", "1"]);
});

test("a text is JSON.stringify's, at any indent", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(0, 1, 2, 4), (value, indent) => {
      const text = JSON.stringify(value, null, indent);
      expect(stringifyLossless(value as Json, indent)).toBe(text);
    }),
    { numRuns: 300 },
  );
});

test("a key called __proto__ is a key", () => {
  const read = parseLossless('{"__proto__": {"a": 1.0}}');
  expect(stringifyLossless(read, 0)).toBe('{"__proto__":{"a":1.0}}');
  expect(Object.keys(toPlain(read) ?? {})).toEqual(["__proto__"]);
});

test("only objects are objects", () => {
  const values: Json[] = [null, 1, "a", true, [], new JsonNumber("1.0")];
  expect(values.filter((value) => isObject(value))).toEqual([]);
  expect(isObject({})).toBe(true);
});
