import * as fc from "fast-check";
import { isDeepStrictEqual } from "node:util";

type Keywords = Readonly<Record<string, unknown>>;

function isKeywords(value: unknown): value is Keywords {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Is a value valid by a schema? Written by the text of JSON Schema (draft 2020-12), for the keywords that are supported here;
 * knows nothing of grammars.
 */
export function isValid(value: unknown, schema: unknown, document: unknown = schema): boolean {
  if (typeof schema === "boolean") return schema;
  if (!isKeywords(schema)) throw new Error("no schema");
  const valid = (one: unknown, inner: unknown): boolean => isValid(one, inner, document);
  const listOf = (name: string): unknown[] | undefined => {
    const found = schema[name];
    return Array.isArray(found) ? found : undefined;
  };
  const numberOf = (name: string): number | undefined => {
    const found = schema[name];
    return typeof found === "number" ? found : undefined;
  };
  const ref = schema["$ref"];
  if (typeof ref === "string") {
    let target: unknown = document;
    for (const part of ref.split("/").slice(1)) target = isKeywords(target) ? target[part] : undefined;
    if (!valid(value, target)) return false;
  }
  const types = typeof schema["type"] === "string" ? [schema["type"]] : listOf("type");
  if (types !== undefined && !types.some((type) => isOfType(value, String(type)))) return false;
  if (listOf("enum")?.some((one) => isDeepStrictEqual(one, value)) === false) return false;
  if ("const" in schema && !isDeepStrictEqual(schema["const"], value)) return false;
  if (listOf("anyOf")?.some((one) => valid(value, one)) === false) return false;
  if (listOf("allOf")?.every((one) => valid(value, one)) === false) return false;
  const matching = listOf("oneOf")?.filter((one) => valid(value, one)).length;
  if (matching !== undefined && matching !== 1) return false;
  const within = (size: number, least: string, most: string): boolean =>
    size >= (numberOf(least) ?? -Infinity) && size <= (numberOf(most) ?? Infinity);
  if (typeof value === "number") {
    const [above = -Infinity, below = Infinity] = [numberOf("exclusiveMinimum"), numberOf("exclusiveMaximum")];
    return within(value, "minimum", "maximum") && value > above && value < below;
  }
  if (typeof value === "string") {
    const { pattern } = schema;
    // What the flag u refuses is the character itself.
    const source = typeof pattern === "string" ? pattern.replaceAll(/\\([-@])/g, "$1") : "";
    if (!new RegExp(source, "u").test(value)) return false;
    if (schema["format"] === "date-time" && Number.isNaN(Date.parse(value))) return false;
    return within(Array.from(value).length, "minLength", "maxLength");
  }
  if (Array.isArray(value)) {
    const prefix = listOf("prefixItems") ?? [];
    const rest = value.slice(prefix.length);
    if (!value.slice(0, prefix.length).every((item, at) => valid(item, prefix[at]))) return false;
    if ("items" in schema && !rest.every((item) => valid(item, schema["items"]))) return false;
    const isTwice = (item: unknown, at: number): boolean =>
      value.slice(0, at).some((other) => isDeepStrictEqual(item, other));
    if (schema["uniqueItems"] === true && value.some(isTwice)) return false;
    return within(value.length, "minItems", "maxItems");
  }
  if (!isKeywords(value)) return true;
  const properties = isKeywords(schema["properties"]) ? schema["properties"] : {};
  if (listOf("required")?.every((name) => Object.hasOwn(value, String(name))) === false) return false;
  const areValid = Object.entries(value).every(([name, item]) => {
    if (Object.hasOwn(properties, name)) return valid(item, properties[name]);
    return !("additionalProperties" in schema) || valid(item, schema["additionalProperties"]);
  });
  return areValid && within(Object.keys(value).length, "minProperties", "maxProperties");
}

function isOfType(value: unknown, type: string): boolean {
  if (type === "integer") return Number.isInteger(value);
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isKeywords(value);
  return typeof value === type;
}

const small = fc.integer({ min: -30, max: 30 });
const name = fc.constantFrom("a", "b", "größe", 'say "x"', "long_name");
const range = (least: string, most: string, high: number) =>
  fc
    .tuple(fc.nat(high), fc.nat(high))
    .map(([one, other]) => ({ [least]: Math.min(one, other), [most]: Math.max(one, other) }));

/** Schemas that can be obeyed, of everything that is supported, each in itself again. */
export const SCHEMAS: fc.Arbitrary<Keywords> = fc.letrec<{ schema: Keywords }>((tie) => {
  const inner = tie("schema");
  const properties = fc.dictionary(name, inner, { maxKeys: 3 });
  return {
    schema: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.constant({ type: "boolean" }),
      fc.constant({ type: ["null", "integer"] }),
      fc.constant({ type: "string" }),
      range("minLength", "maxLength", 12).map((bounds) => ({ type: "string", ...bounds })),
      fc
        .constantFrom("^[A-Z]{2}\\d+$", "ab|c*", '["\\\\]x?', "^\\w{1,3}-[^a]$", "é.")
        .map((pattern) => ({ type: "string", pattern })),
      fc
        .tuple(
          fc.constantFrom("^[a-z_é]+$", "^(?:ab|c)*\\d?$", "[A-Z]", "^x?[0-9.]{1,3}\\-", '^😀*\\@(?:🙂|"){2,}$'),
          range("minLength", "maxLength", 9),
          fc.constantFrom("minLength", "maxLength", "neither"),
        )
        // One of the bounds, or both; each pattern has matches of three characters.
        .map(([pattern, { minLength = 0, maxLength = 0 }, without]) => ({
          type: "string",
          pattern,
          ...(without === "minLength" ? {} : { minLength: Math.min(3, minLength) }),
          ...(without === "maxLength" ? {} : { maxLength: Math.max(3, maxLength) }),
        })),
      fc.constant({ type: "string", format: "date-time" }),
      fc.tuple(small, fc.nat(20)).map(([least, more]) => ({ type: "integer", minimum: least, maximum: least + more })),
      fc
        .tuple(small, fc.integer({ min: 1, max: 20 }))
        .map(([least, more]) => ({ type: "number", minimum: least - 0.5, exclusiveMaximum: least + more })),
      small.map((least) => ({ type: "number", exclusiveMinimum: least })),
      fc.array(fc.jsonValue({ maxDepth: 1 }), { minLength: 1, maxLength: 3 }).map((values) => ({ enum: values })),
      fc.jsonValue({ maxDepth: 1 }).map((value) => ({ const: value })),
      fc.tuple(fc.uniqueArray(fc.jsonValue({ maxDepth: 1 }), { minLength: 1 }), small).map(([values, minimum]) => ({
        enum: [...values, "zz"],
        minimum,
        minLength: 2,
        pattern: "^[^\\s]",
        maxItems: 1,
      })),
      fc
        .tuple(
          fc.array(fc.constantFrom("a", 1, 1.5, null, { a: 1, b: 2 }, { b: 2, a: 1 })),
          fc.integer({ min: 1, max: 4 }),
        )
        .map(([values, most]) => ({
          type: "array",
          items: { enum: [...values, "z"] },
          uniqueItems: true,
          maxItems: most,
        })),
      fc.tuple(inner, range("minItems", "maxItems", 3)).map(([items, bounds]) => ({ type: "array", items, ...bounds })),
      fc.tuple(inner, inner).map(([first, items]) => ({ type: "array", prefixItems: [first], items, maxItems: 3 })),
      fc.tuple(properties, fc.array(name, { maxLength: 2 }), fc.boolean()).map(([members, required, closed]) => ({
        type: "object",
        properties: members,
        required: [...new Set(required)].filter((key) => !closed || Object.hasOwn(members, key)),
        ...(closed ? { additionalProperties: false } : {}),
      })),
      inner.map((value) => ({ type: "object", additionalProperties: value, maxProperties: 3 })),
      fc.array(inner, { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
      fc.tuple(inner, inner).map(([one, other]) => ({
        oneOf: [
          { type: "object", properties: { kind: { const: 1 }, one }, required: ["kind"] },
          { type: "object", properties: { kind: { enum: [2, 3] }, other }, required: ["kind", "other"] },
        ],
      })),
      properties.map((members) => ({
        allOf: [{ type: "object", properties: members }, { required: Object.keys(members).slice(0, 1) }],
      })),
    ),
  };
}).schema;

/** A schema that calls itself. */
export const TREE = {
  $ref: "#/$defs/node",
  $defs: {
    node: {
      type: "object",
      properties: { value: { type: "integer" }, children: { type: "array", items: { $ref: "#/$defs/node" } } },
      required: ["value", "children"],
      additionalProperties: false,
    },
  },
};
