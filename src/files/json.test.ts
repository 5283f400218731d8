import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { scanJson, nestsDeeper } from "./json.ts";

describe("scanJson", () => {
  test("keeps the order of keys, integer-like ones too", () => {
    expect(scanJson('{"b":1, "10":{}, "a":[], "2":"x"}').keys).toEqual(["b", "10", "a", "2"]);
  });

  test("finds a key that occurs twice, at any depth, however it is spelt", () => {
    expect(scanJson('{"a":1,"b":{"c":1,"d":2,"c":3}}').duplicate).toEqual(["b", "c"]);
    expect(scanJson('{"a":1,"\\u0061":2}').duplicate).toEqual(["a"]);
    expect(scanJson('{"a\\"":1,"a\\\\":2,"a\\"":3}').duplicate).toEqual(['a"']);
    expect(scanJson('{"a":[{"x":1,"x":1}]}').duplicate).toEqual(["a", "[]", "x"]);
  });

  test("the same key in two objects, or as a value, is no duplicate", () => {
    expect(scanJson('{"a":{"a":"a"},"b":["a","a",{"a":1},{"a":1}],"c":"a"}').duplicate).toBeUndefined();
    expect(scanJson('{"a":"{\\"a\\":1,","b":"\\\\"}').duplicate).toBeUndefined();
  });

  test("tells numbers that are not written as nonnegative integers", () => {
    expect(scanJson('{"a":[0,12,9007199254740993]}').oddNumber).toBeUndefined();
    for (const number of ["1.0", "-1", "1e3", "-0", "2E+5"]) {
      expect(scanJson(`{"n":1,"a":[${number}]}`).oddNumber).toBe(number);
    }
    expect(scanJson('{"a":"1.5","b":true,"c":null}').oddNumber).toBeUndefined();
  });

  test("agrees with JSON.parse about any object", () => {
    const objects = fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue(), { maxKeys: 8 });
    fc.assert(
      fc.property(objects, fc.constantFrom(undefined, 1, "\t"), (object, space) => {
        const found = scanJson(JSON.stringify(object, null, space));
        expect(found.keys.toSorted()).toEqual(Object.keys(object).toSorted());
        expect(found.duplicate).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });
});

test.each([
  ['{"a": [1, {"b": []}]}', 4],
  ["[[],[[]],[]]", 3],
  ['["[[[[", "\\"[[[", {"]]": 1}]', 2],
  ["7", 0],
  ["[[[[", 4],
  ['["[[[[[[', 1],
])("%s is %i deep", (text, depth) => {
  expect([nestsDeeper(text, depth), nestsDeeper(text, depth - 1)]).toEqual([false, depth > 0]);
});
