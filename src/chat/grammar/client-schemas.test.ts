import { expect, test } from "bun:test";
import { schemaGrammar } from "./json-schema.ts";
import { isValid } from "./testing/schemas.ts";
import { follows, writeRandomly } from "./testing/write.ts";

test("schemas as pydantic 2 and zod 4 write them are obeyed", () => {
  const Color = { enum: ["red", "green", "blue"], title: "Color", type: "string" };
  const schema = {
    $defs: { Color },
    properties: {
      slug: { maxLength: 40, minLength: 3, pattern: "^[a-z0-9]+(?:\\-[a-z0-9]+)*$", title: "Slug", type: "string" },
      code: { anyOf: [{ maxLength: 4, pattern: "^[A-Z]+$", type: "string" }, { type: "null" }], default: null },
      email: { format: "email", maxLength: 254, type: "string" },
      password: { type: "string", minLength: 8, maxLength: 64, pattern: "\\d" },
      kind: { const: "b", enum: ["a", "b"], minLength: 1, title: "Kind", type: "string" },
      colors: { items: { $ref: "#/$defs/Color" }, title: "Colors", type: "array", uniqueItems: true },
      flags: { items: { type: "boolean" }, maxItems: 1, type: "array", uniqueItems: true },
      stars: { items: { maximum: 5, minimum: 1, type: "integer" }, minItems: 2, type: "array", uniqueItems: true },
    },
    required: ["slug", "email", "password", "kind", "colors", "flags", "stars"],
    title: "Model",
    type: "object",
    additionalProperties: false,
  };
  const grammar = schemaGrammar(schema);
  for (let seed = 1; seed <= 6; seed++) {
    let state = seed;
    const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    const text = writeRandomly(grammar, random, 150);
    expect([text, isValid(JSON.parse(text), schema)]).toEqual([text, true]);
  }
});

test("objects in each other, all members optional as zod writes them, take no more states for their depth than they have", () => {
  const nested = (depth: number): object => ({
    type: "object",
    properties: { a: { type: "string" }, b: depth === 0 ? { type: "number" } : nested(depth - 1), c: { type: "null" } },
    additionalProperties: false,
  });
  const [text, other] = ["{}", '{"a":1}'].map((inside) =>
    Array.from({ length: 12 }).reduce<string>((all) => `{"b":${all}}`, inside),
  );
  const grammar = schemaGrammar(nested(12));
  expect([follows(grammar, text ?? ""), follows(grammar, other ?? "")]).toEqual([true, false]);
});

test("a pattern beside a length: characters are code points, whatever their escapes and bytes", () => {
  const schema = (more: object) => schemaGrammar({ type: "string", minLength: 2, maxLength: 3, ...more });
  for (const [more, taken, left] of [
    [{ pattern: '^(?:[a-z"]|🙂)+$' }, ["ab", '""', "🙂🙂🙂"], ["a", "🙂", "abcd", "aB"]],
    [{ pattern: "^(?:ab|c){1,9}$" }, ["ab", "cc", "cab", "ccc"], ["c", "abab", "ba"]],
    // Where no match is as long as that, there is one within.
    [{ pattern: "[A-Z]" }, ["aB", "B🙂é", "BB"], ["B", "ab", "abcD"]],
    [{ pattern: "^[A-Z]|\\d$" }, ["Ba", "é1"], ["1a", "aB", "1"]],
    [{ pattern: "^x+$", maxLength: 300 }, ["xx", "x".repeat(300)], ["x", "x".repeat(301)]],
    [{ format: "date", minLength: 10, maxLength: 12 }, ["2024-02-12"], ["x2024-02-12"]],
  ] as const) {
    const grammar = schema(more);
    const follow = (texts: readonly string[]) => texts.filter((one) => follows(grammar, JSON.stringify(one)));
    expect([more, follow(taken), follow(left)]).toEqual([more, [...taken], []]);
  }
  const least = schemaGrammar({ type: "string", pattern: "^[a-z]*$", minLength: 2 });
  expect(["a", "ab", "a".repeat(50)].map((one) => follows(least, JSON.stringify(one)))).toEqual([false, true, true]);
});

test("of a pattern escapes that need none are the characters themselves", () => {
  for (const [pattern, taken] of [
    ["^\\d{2}\\-\\d$", "12-3"],
    ["^[\\w\\-]\\@\\ \\_\\😀$", "-@ _😀"],
    ["^\\\\-\\/\\]$", "\\-/]"],
  ] as const) {
    expect(new RegExp(pattern).test(taken)).toBeTrue();
    expect([pattern, follows(schemaGrammar({ type: "string", pattern }), JSON.stringify(taken))]).toEqual([
      pattern,
      true,
    ]);
  }
});

test("what a pattern looks ahead for at its beginning holds for the whole string", () => {
  const grammar = schemaGrammar({ type: "string", pattern: "^(?=.*[A-Z])(?=.*\\d|x)[A-Za-z\\d]{4,9}$" });
  const taken = ["Abc1", "xAbc", "abcd1", "ABCDx", "A1", "A1-bcd"].filter((text) =>
    follows(grammar, JSON.stringify(text)),
  );
  expect(taken).toEqual(["Abc1", "xAbc"]);
  const ends = schemaGrammar({ type: "string", pattern: "^(?=a$|.b$)[ab]+$" });
  expect(["a", "ab", "bb", "b", "abb"].filter((text) => follows(ends, JSON.stringify(text)))).toEqual([
    "a",
    "ab",
    "bb",
  ]);
});

test("of an anyOf those schemas are left that allow something", () => {
  const rest = { type: "boolean" };
  for (const impossible of [
    { type: "string", minLength: 3, maxLength: 2 },
    { type: "array", minItems: 3, maxItems: 2 },
    { type: "array", prefixItems: [false], minItems: 1 },
    { type: "number", minimum: 0.7, maximum: 0.3 },
    { allOf: [{ const: 1 }, { const: 2 }] },
    { $ref: "#/$defs/none" },
    { type: "object", properties: { a: { $ref: "#/$defs/none" } }, required: ["a"] },
    { $ref: "#/$defs/endless" },
  ]) {
    const endless = { type: "object", properties: { a: { $ref: "#/$defs/endless" } }, required: ["a"] };
    const grammar = schemaGrammar({ anyOf: [impossible, rest], $defs: { none: { enum: [] }, endless } });
    const taken = ["true", '{"a":{', "[", "0", '""'].filter((text) => follows(grammar, text));
    expect([impossible, taken]).toEqual([impossible, ["true"]]);
  }
  const kind = { properties: { kind: { const: "a" } }, required: ["kind"] };
  const kinds = ["a", "b"].map((name) => ({ properties: { kind: { const: name } } }));
  expect(follows(schemaGrammar({ ...kind, anyOf: kinds }), '{"kind":"a"}')).toBeTrue();
  const shorter = schemaGrammar({ prefixItems: [{ const: 1 }, { const: 2 }], maxItems: 1 });
  expect(["[]", "[1]", "[1, 2]"].map((text) => follows(shorter, text))).toEqual([false, true, false]);
});

test("of enum and const those values are left that the keywords beside them allow", () => {
  const values = ["a", "bb", "ccc", "d-d", 1, 2, 3.5, [1, 1], [], { a: 1 }, null];
  const left = (more: object) => {
    const grammar = schemaGrammar({ enum: values, title: "Values", ...more });
    return values.filter((value) => follows(grammar, JSON.stringify(value)));
  };
  for (const more of [
    { minLength: 2, type: "string", pattern: "^\\w+$" },
    { pattern: "\\-", exclusiveMinimum: 1, multipleOf: 2, minItems: 1, required: ["b"] },
    { maximum: 2, uniqueItems: true, minProperties: 2 },
    { anyOf: [{ type: "integer" }, { minLength: 3, type: "string" }] },
  ]) {
    const judged = more.multipleOf === undefined ? more : { ...more, enum: values.filter((value) => value !== 3.5) };
    expect([more, left(more)]).toEqual([more, values.filter((value) => isValid(value, judged))]);
  }
});

test("items that must differ do so, in any order where they are few, else in the schema's", () => {
  const colors = { $defs: { Color: { enum: ["r", "g", "b"], type: "string" } }, items: { $ref: "#/$defs/Color" } };
  const few = schemaGrammar({ type: "array", uniqueItems: true, minItems: 2, ...colors });
  const lists = ['["b","r"]', '["g", "b", "r"]', '["r","r"]', '["r"]', '["r","g","b","r"]'];
  expect(lists.map((list) => follows(few, list))).toEqual([true, true, false, false, false]);
  const items = { type: "integer", minimum: 1, maximum: 60 };
  const many = schemaGrammar({ type: "array", uniqueItems: true, items });
  expect(["[3,60]", "[]", "[60,3]"].map((list) => follows(many, list))).toEqual([true, true, false]);
  const one = schemaGrammar({ type: "array", uniqueItems: true, items: { type: "string" }, maxItems: 1 });
  expect(['["any"]', '["a","b"]'].map((list) => follows(one, list))).toEqual([true, false]);
  const both = schemaGrammar({ allOf: [{ uniqueItems: false }, { items: { type: "boolean" }, uniqueItems: true }] });
  expect(["[true,false]", "[true,true]"].map((list) => follows(both, list))).toEqual([true, false]);
});

test("names of members are kept to propertyNames, be they free, named or required", () => {
  const colors = { $defs: { Color: { enum: ["red", "blue"] } }, propertyNames: { $ref: "#/$defs/Color" } };
  for (const [schema, taken, left] of [
    [{ propertyNames: { type: "string" } }, ["{}", '{"any":1}'], ["[", "{1"]],
    [colors, ["{}", '{"red":1,"blue":2}'], ['{"green":1}']],
    [{ ...colors, required: ["blue"] }, ['{"blue":1}'], ["{}", '{"red":1}']],
    [{ ...colors, properties: { red: {}, green: {} } }, ["{}", '{"red":1}'], ['{"green":1}']],
    [
      { propertyNames: { pattern: "^a+$", maxLength: 2 }, minProperties: 1 },
      ['{"aa":1}'],
      ["{}", '{"aaa":1}', '{"b":1}'],
    ],
    [{ allOf: [colors, { propertyNames: { maxLength: 3 } }] }, ['{"red":1}'], ['{"blue":1}']],
    [{ propertyNames: false }, ["{}"], ['{"a":1}']],
  ] as const) {
    const grammar = schemaGrammar({ type: "object", ...schema, $defs: colors.$defs });
    const follow = (texts: readonly string[]) => texts.filter((one) => follows(grammar, one));
    expect([schema, follow(taken), follow(left)]).toEqual([schema, [...taken], []]);
  }
  const none = { type: "object", propertyNames: { enum: ["a"] }, required: ["b"] };
  expect(() => schemaGrammar(none)).toThrow("allows no value");
});

test("tuples of draft 7 are those of today", () => {
  const lists = ["[]", "[1]", "[1,true]", "[1,true,2]", '[1,true,"x"]', "[true]"];
  const follow = (schema: object) => lists.filter((list) => follows(schemaGrammar({ type: "array", ...schema }), list));
  const items = [{ const: 1 }, { type: "boolean" }];
  expect(follow({ items, additionalItems: false })).toEqual(["[1,true]"]);
  expect(follow({ items, additionalItems: { const: 2 }, minItems: 3 })).toEqual(["[1,true,2]"]);
  expect(follow({ items })).toEqual(lists.slice(2, 5));
  expect(follow({ items: [], additionalItems: false })).toEqual(["[]"]);
  expect(follow({ items: { const: 1 }, additionalItems: false })).toEqual(["[]", "[1]"]);
});
