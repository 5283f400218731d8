import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { RandloraError } from "../../files/errors.ts";
import { ANY_OBJECT } from "./json.ts";
import { schemaGrammar } from "./json-schema.ts";
import { statesOf } from "./states.ts";
import { isValid, SCHEMAS, TREE } from "./testing/schemas.ts";
import { follows, writeRandomly } from "./testing/write.ts";

/** Numbers from 0 up to 1, the same for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed + 1;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

test("whatever is written by a schema's grammar is JSON that the schema allows", () => {
  fc.assert(
    fc.property(SCHEMAS, fc.nat(1e6), (schema, seed) => {
      let grammar;
      try {
        grammar = schemaGrammar(schema);
        statesOf(grammar);
      } catch (error) {
        // One that allows nothing: `required` of a member that may have no value, say.
        if (error instanceof RandloraError && /allows no (?:value|text)|beyond 2\^53/.test(error.message)) return;
        throw error;
      }
      const random = randomOf(seed);
      for (let count = 0; count < 2; count++) {
        const text = writeRandomly(grammar, random, 60);
        expect([text, isValid(JSON.parse(text), schema)]).toEqual([text, true]);
      }
    }),
    { numRuns: 80 },
  );
}, 60_000);

test("a schema may refer to itself; an answer ends all the same", () => {
  const grammar = schemaGrammar(TREE);
  for (let seed = 0; seed < 20; seed++) {
    const text = writeRandomly(grammar, randomOf(seed), 200);
    expect(isValid(JSON.parse(text), TREE)).toBeTrue();
  }
  expect(follows(grammar, '{"value": 1, "children": [{"value":2,"children":[]}]}')).toBeTrue();
  expect(follows(grammar, '{"value": 1, "children": [{"value":2}]}')).toBeFalse();
});

test("sets of characters beyond Latin are written where a pattern names their ranges", () => {
  const schema = { type: "string", pattern: "^[\\u4e00-\\u9fa5α-ω]{2,4}[^x]$" };
  for (let seed = 0; seed < 10; seed++) {
    const text: unknown = JSON.parse(writeRandomly(schemaGrammar(schema), randomOf(seed), 40));
    expect([text, isValid(text, schema)]).toEqual([text, true]);
  }
});

test("any object is JSON, and usual JSON is an object of it", () => {
  for (let seed = 0; seed < 30; seed++) JSON.parse(writeRandomly(ANY_OBJECT, randomOf(seed), 80));
  const usual = JSON.stringify({ a: [1, -2.5, 1e21, true, null, 'ö\n"\u{1f600}'], b: {} }, null, 2);
  expect(follows(ANY_OBJECT, usual)).toBeTrue();
  for (const bad of ["[]", "{", '{"a":01}', '{"a":1,}', '{"a":"\u0001"}', "{} "]) {
    expect([bad, follows(ANY_OBJECT, bad)]).toEqual([bad, false]);
  }
});

test("a bound that is excluded is no value, and the one next to it is", () => {
  for (const type of ["integer", "number"]) {
    const grammar = schemaGrammar({ type, exclusiveMinimum: 3, exclusiveMaximum: 12 });
    expect(["3", "4", "11", "12"].map((text) => follows(grammar, text))).toEqual([false, true, true, false]);
  }
});

test("a number is not rounded to a bound that is excluded", () => {
  for (const [bounds, outside, inside] of [
    [{ exclusiveMaximum: 20 }, "19.999999999999999", "19.9999999999999"],
    [{ exclusiveMinimum: 20 }, "20.000000000000001", "20.0000000000001"],
    [{ exclusiveMinimum: -20 }, "-19.999999999999999", "-19.9999999999999"],
  ] as const) {
    const grammar = schemaGrammar({ type: "number", ...bounds });
    expect([outside, follows(grammar, outside), follows(grammar, inside)]).toEqual([outside, false, true]);
  }
});

test("of a pattern nothing is written that Python's expressions would not match", () => {
  const spaces = schemaGrammar({ type: "string", pattern: "^\\S$" });
  const others = schemaGrammar({ type: "string", pattern: "^[^\\w]$" });
  for (const text of ['"\\u001c"', '"\u0085"']) expect(follows(spaces, text)).toBeFalse();
  for (const text of ['"é"', '"²"']) expect([text, follows(others, text)]).toEqual([text, false]);
  expect([follows(spaces, '"é"'), follows(others, '"-"'), follows(others, '"§"')]).toEqual([true, true, true]);
});

test("a schema may hold itself by a reference with keywords beside it, or in an allOf", () => {
  const $ref = "#/$defs/node";
  for (const more of [{ allOf: [{ $ref }] }, { $ref, minProperties: 0 }, { allOf: [{ $ref }, { minProperties: 0 }] }]) {
    const child = { description: "the next one", ...more };
    const node = { type: "object", properties: { child }, additionalProperties: false };
    const grammar = schemaGrammar({ $ref, $defs: { node } });
    expect(follows(grammar, '{"child":{"child":{}}}')).toBeTrue();
    expect(follows(grammar, '{"child":{"child":1}}')).toBeFalse();
  }
});

test("schemas of a oneOf that are told by a member, by types or by values", () => {
  const told = { type: "object", required: ["kind"] };
  const kinds = [{ properties: { kind: { const: "a" } } }, { properties: { kind: { const: "b" } } }];
  expect(follows(schemaGrammar({ ...told, oneOf: kinds }), '{"kind":"a"}')).toBeTrue();
  expect(follows(schemaGrammar({ oneOf: [{ enum: ["a"] }, { type: "integer" }] }), "1")).toBeTrue();
});

describe("what would not be obeyed is refused by name", () => {
  test.each<[unknown, string]>([
    [{ oneOf: [{ minLength: 3 }, { type: "integer" }] }, "two of its schemas may hold at once"],
    [{ type: ["string", "integer"], oneOf: [{ minLength: 3 }, { maximum: 3 }] }, "two of its schemas may hold at once"],
    [{ oneOf: [{ const: { a: 1, b: 2 } }, { const: { b: 2, a: 1 } }] }, "two of its schemas may hold at once"],
    [{ oneOf: [{ properties: { a: { const: 1 } } }, { properties: { a: { const: 2 } } }] }, "may hold at once"],
    [
      { allOf: [{ prefixItems: [{ type: "integer" }] }, { items: { type: "string" } }] },
      "items beside the prefixItems",
    ],
    [{ enum: "abc" }, "#/enum: must be a list"],
    [{ const: [2 ** 60] }, "beyond 2^53"],
    [{ enum: [{ a: Infinity }] }, "beyond 2^53"],
    [{ properties: { a: { $id: "a", $ref: "#/x", x: {} } } }, "$id is supported at the top only"],
    [3, "not an object"],
    [{ not: {} }, '"not" is not supported'],
    [{ type: "object", patternProperties: {} }, '"patternProperties" is not supported'],
    [{ properties: { a: { uniqueItems: true } } }, '#/properties/a: the keyword "uniqueItems"'],
    [{ items: { type: "integer", minimum: 1, maximum: 65 }, uniqueItems: true }, "at most 64 values"],
    [{ items: { enum: [1, 1] }, uniqueItems: true, minItems: 2 }, "allows no value"],
    [{ items: { enum: [1] }, prefixItems: [{}], uniqueItems: true }, '"uniqueItems" is supported where'],
    [{ uniqueItems: 1 }, "#/uniqueItems: must be true or false"],
    [{ type: "text" }, '"text" is no type'],
    [{ $ref: "other.json" }, "only references within the schema"],
    [{ $ref: "#/$defs/gone" }, "there is nothing at #/$defs/gone"],
    [{ $ref: "#" }, "allows no text that ends"],
    [{ allOf: [{ $ref: "#" }] }, "allows no text that ends"],
    [{ allOf: [{ $ref: "#" }, { minItems: 1 }] }, "refers to itself without an end"],
    [
      { $ref: "#/$defs/a", $defs: { a: { properties: { b: { $ref: "#/$defs/a" } }, required: ["b"] } } },
      "allows no text that ends",
    ],
    [{ oneOf: [{ type: "integer" }, { type: "number" }] }, "two of its schemas may hold at once"],
    [{ type: "string", format: "idn-email" }, 'the format "idn-email" is not supported'],
    [{ properties: { a: { type: "string", pattern: "(?=a)b" } } }, '#/properties/a: pattern "(?=a)b": lookaround'],
    [{ type: "string", pattern: "(a)\\1" }, "references"],
    [{ type: "string", pattern: "a$b" }, "at the ends only"],
    [{ type: "string", pattern: "(" }, "pattern"],
    [{ type: "string", pattern: "^[a-z]{3}$", minLength: 4 }, "allows no value"],
    [
      { type: "string", pattern: "^(?:a?b?c?d?e?f?g?h?){60}$", maxLength: 400 },
      "more than 40000 steps beside a length",
    ],
    [{ type: "string", pattern: "^.+x.+$", maxLength: 4001 }, "more than 4000"],
    [{ type: "string", pattern: "^aa(?=b)$", maxLength: 2 }, "lookaround"],
    [{ type: "string", pattern: "a{1001}", minLength: 3 }, "more than 1000 times"],
    [{ type: "string", pattern: "a", format: "time" }, "allows no value"],
    [{ type: "string", format: "time", maxLength: 5 }, "allows no value"],
    [{ type: "string", pattern: "^(?!a)", format: "email" }, "lookaround"],
    [{ type: "string", pattern: "^(?!\\.)\\w+$" }, "lookaround"],
    [{ type: "string", pattern: "^(?:h?t?p?s?:?/?.?){60}$", format: "uri" }, "more than 40000 steps"],
    [{ type: "string", pattern: "end\\Z" }, "invalid escaped character"],
    [{ type: "string", minLength: 3, maxLength: 2 }, "#: the schema allows no value"],
    [
      { required: ["a"], properties: { a: { minItems: 3, maxItems: 2 } } },
      "#/properties/a: the schema allows no value",
    ],
    // What an object may do without is not why.
    [
      { required: ["b"], properties: { a: { type: "string", minLength: 3, maxLength: 2 }, b: { enum: [] } } },
      "#/properties/b: the schema allows no value",
    ],
    [{ required: ["b"], properties: { a: { enum: [] }, b: false } }, "#: the schema allows no value"],
    [{ const: 1, anyOf: [{ enum: [2] }, { enum: [3] }] }, "#: the schema allows no value"],
    [{ prefixItems: [{}, false], minItems: 2 }, "allows no value"],
    [{ type: "number", exclusiveMinimum: 1, maximum: 1 }, "allows no value"],
    [{ type: "string", maxLength: 1e6 }, "more than 4000"],
    [{ type: "number", minimum: 0.2, maximum: 0.3 }, "without a whole number between them"],
    [{ type: "integer", minimum: 0.2, maximum: 0.3 }, "allows no value"],
    [{ type: "number", multipleOf: 0.1 }, "multipleOf is not supported"],
    [{ enum: [1], minimum: 2 }, "allows no value"],
    [{ enum: [1], multipleOf: 0.1 }, "multipleOf beside enum"],
    [{ enum: [[1]], items: { type: "integer" } }, "items beside enum"],
    [{ const: { a: 1 }, properties: { a: { type: "integer" } } }, "properties beside enum"],
    [{ enum: ["2024-02-30"], format: "date" }, "format beside enum"],
    [{ type: "object", minProperties: 3 }, "minProperties"],
    [{ allOf: [{ pattern: "a" }, { pattern: "b" }] }, "two schemas with different pattern"],
    [false, "allows no value"],
  ])("%j", (schema, message) => {
    expect(() => writeRandomly(schemaGrammar(schema), () => 0, 0)).toThrow(message);
  });

  test("within bounds of time, however the schemas refer to each other", () => {
    const $defs: Record<string, object> = { d40: { type: "null" } };
    for (let at = 0; at < 40; at++) $defs[`d${at}`] = { allOf: [0, 1].map(() => ({ $ref: `#/$defs/d${at + 1}` })) };
    expect(() => schemaGrammar({ $ref: "#/$defs/d0", $defs })).toThrow("more than 20000 parts");
    const wide = Object.fromEntries(Array.from({ length: 2000 }, (_, at) => [`p${at}`, { type: "null" }]));
    const again = Array.from({ length: 2000 }, () => ({ $ref: "#/$defs/wide" }));
    expect(() => schemaGrammar({ allOf: again, $defs: { wide: { properties: wide } } })).toThrow(
      "more than 20000 parts",
    );
    const patterns = Array.from({ length: 20 }, (_, at) => ({ pattern: `[^${at}]`.repeat(200) }));
    expect(() => schemaGrammar({ anyOf: patterns })).toThrow("more than 20000 parts");
    const chain = (more: object) => ({
      $ref: "#/$defs/d0",
      $defs: Object.fromEntries(
        Array.from({ length: 5000 }, (_, at) => [`d${at}`, { $ref: `#/$defs/d${(at + 1) % 5000}`, ...more }]),
      ),
    });
    expect(() => schemaGrammar(chain({ type: "null" }))).toThrow("more than 100 schemas in each other");
    expect(schemaGrammar(chain({ title: "one by one" })).size).toBeGreaterThan(5000);
    const child = { anyOf: [{ $ref: "#/$defs/node" }], minProperties: 0 };
    const endless = { $ref: "#/$defs/node", $defs: { node: { type: "object", properties: { child } } } };
    expect(() => schemaGrammar(endless)).toThrow("more than 300 schemas in each other");
    expect(() => schemaGrammar({ enum: Array.from({ length: 400_000 }, () => 1) })).toThrow("more than 20000 parts");
    expect(schemaGrammar({ type: Array.from({ length: 400_000 }, () => "null") }).get("root")).toEqual(
      schemaGrammar({ type: "null" }).get("root"),
    );
    const many = Array.from({ length: 100 }, (_, at) => ({ const: at }));
    expect(() => schemaGrammar({ oneOf: many })).toThrow("more than 64 schemas");
    const deep = Array.from({ length: 99 }).reduce<object>((inside) => ({ items: inside, minItems: 900 }), {
      type: "null",
    });
    expect(() => writeRandomly(schemaGrammar(deep), () => 0, 0)).toThrow("more than 20000 states");
  });
});
