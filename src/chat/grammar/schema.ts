import { inToday } from "./draft-7.ts";
import { type Expression, grammarError } from "./grammar.ts";

/** A JSON schema's keywords by name. */
export type Keywords = Readonly<Record<string, unknown>>;
/** `true`: anything; `false`: nothing. */
export type Schema = boolean | Keywords;

/** Where something stands in a schema, as a JSON pointer. */
export type Where = string;

export const TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"] as const;
export type TypeName = (typeof TYPES)[number];

/** Keywords that say nothing about the values. */
const ANNOTATIONS: ReadonlySet<string> = new Set([
  "$schema",
  "$id",
  "$comment",
  "$defs",
  "definitions",
  "title",
  "description",
  "default",
  "examples",
  "example",
  "deprecated",
  "readOnly",
  "writeOnly",
  "discriminator",
]);

/** Keywords by the type of the values that they are about. */
export const KEYWORDS_OF: Readonly<Record<"object" | "array" | "string" | "number", readonly string[]>> = {
  object: ["properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"],
  array: ["items", "prefixItems", "minItems", "maxItems", "uniqueItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
};
const GENERAL = ["type", "enum", "const", "anyOf", "oneOf"];
const SUPPORTED: ReadonlySet<string> = new Set([...GENERAL, ...Object.values(KEYWORDS_OF).flat()]);

/** Schemas that are looked at for one request, those that are merged or referred to counted each time. */
const MOST_SCHEMAS = 20_000;
/** Schemas that refer to each other, or stand in each other's `allOf`, all of them to be put together. */
const MOST_DEPTH = 100;

/** Counts what is looked at of all schemas of a request. */
export class SchemaWork {
  #looked = 0;

  /** @throws RandloraError `data` where it is too much */
  look(parts: number): void {
    this.#looked += parts;
    if (this.#looked > MOST_SCHEMAS) throw grammarError(`the schema has more than ${MOST_SCHEMAS} parts`);
  }
}

/** Reads schemas of one document: follows references and puts together what `allOf` demands together. */
export class SchemaReader {
  /** Strings by the keywords that they hold: each is made once. */
  readonly strings = new Map<string, Expression>();
  readonly #document: Schema;
  readonly #texts = new Map<unknown, string>();
  readonly #work: SchemaWork;

  constructor(document: Schema, work: SchemaWork) {
    this.#document = document;
    this.#work = work;
  }

  /** @throws RandloraError `data` for what is no schema */
  schemaOf(value: unknown, where: Where): Schema {
    this.look(1);
    if (typeof value === "boolean") return value;
    if (isRecord(value)) return value;
    throw grammarError(`${where}: no schema stands here`);
  }

  /** What `#/…` names. @throws RandloraError `data` for a reference that leads nowhere, or out of the document */
  lookUp(reference: unknown, where: Where): Schema {
    if (typeof reference !== "string" || !(reference === "#" || reference.startsWith("#/"))) {
      throw grammarError(`${where}/$ref: only references within the schema are supported (#/$defs/…)`);
    }
    let at: unknown = this.#document;
    for (const part of reference.split("/").slice(1)) {
      const key = decodePart(part).replaceAll("~1", "/").replaceAll("~0", "~");
      at = (isRecord(at) || Array.isArray(at)) && Object.hasOwn(at, key) ? Reflect.get(at, key) : undefined;
    }
    if (at === undefined) throw grammarError(`${where}/$ref: there is nothing at ${reference.slice(0, 100)}`);
    return this.schemaOf(at, where);
  }

  /**
   * The keywords that hold together: those of the schema, of what it refers to, and of its `allOf`.
   * @returns false: nothing holds them
   * @throws RandloraError `data` naming a keyword that is not supported, or two that cannot be put together
   */
  flatten(schema: Schema, where: Where, followed: ReadonlySet<unknown> = new Set()): Keywords | false {
    if (schema === true) return {};
    if (schema === false) return false;
    if (followed.has(schema)) throw grammarError(`${where}: the schema refers to itself without an end`);
    if (followed.size > MOST_DEPTH) throw grammarError(`${where}: more than ${MOST_DEPTH} schemas in each other`);
    const inside = new Set([...followed, schema]);
    const parts: (Keywords | false)[] = [];
    const own: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(inToday(schema))) {
      if (name === "enum" && !Array.isArray(value)) throw grammarError(`${where}/enum: must be a list`);
      if (name === "$id" && schema !== this.#document) {
        throw grammarError(
          `${where}: $id is supported at the top only, as references would mean its part of the schema`,
        );
      }
      if (ANNOTATIONS.has(name)) continue;
      if (name === "$ref") parts.push(this.flatten(this.lookUp(value, where), where, inside));
      else if (name === "allOf") {
        for (const one of listOf(value, `${where}/allOf`)) {
          parts.push(this.flatten(this.schemaOf(one, where), `${where}/allOf`, inside));
        }
      } else if (SUPPORTED.has(name)) own[name] = value;
      else throw grammarError(`${where}: the keyword ${JSON.stringify(name.slice(0, 60))} is not supported`);
    }
    return [own, ...parts].reduce((all: Keywords | false, part) =>
      all === false || part === false ? false : this.merged(all, part, where),
    );
  }

  /**
   * Keywords of two schemas that must both hold.
   * @returns false: nothing holds them
   * @throws RandloraError `data` where that takes more than keywords say
   */
  merged(one: Keywords, other: Keywords, where: Where): Keywords | false {
    const hasConst = Object.hasOwn(one, "const") && Object.hasOwn(other, "const");
    if (hasConst && this.textOf(one["const"]) !== this.textOf(other["const"])) return false;
    const result: Record<string, unknown> = { ...one };
    for (const [name, right] of Object.entries(other)) {
      const left = one[name];
      result[name] = left === undefined ? right : this.#together(name, left, right, where);
    }
    const opens = (keywords: Keywords): boolean =>
      keywords["additionalProperties"] === undefined || keywords["additionalProperties"] === true;
    const named = (keywords: Keywords): boolean => keywords["properties"] !== undefined;
    const isList = (keywords: Keywords): boolean => ["items", "prefixItems"].some((name) => name in keywords);
    const differ =
      isList(one) && isList(other) && this.textOf(one["prefixItems"]) !== this.textOf(other["prefixItems"]);
    if (differ && "items" in result) {
      throw grammarError(`${where}: items beside the prefixItems of another schema is not supported`);
    }
    if ((!opens(one) && named(other)) || (!opens(other) && named(one))) {
      throw grammarError(`${where}: additionalProperties beside the properties of another schema is not supported`);
    }
    return result;
  }

  /** A value as JSON, by which it is compared, whatever the order of its members; each is written out once. */
  textOf(value: unknown): string {
    const known = this.#texts.get(value);
    if (known !== undefined) return known;
    const text = JSON.stringify(sorted(value)) ?? "";
    if (typeof value === "object") this.#texts.set(value, text);
    return text;
  }

  #together(name: string, left: unknown, right: unknown, where: Where): unknown {
    if (name === "properties" && isRecord(left) && isRecord(right)) {
      this.look(Object.keys(left).length + Object.keys(right).length);
      const shared = Object.keys(right).filter((key) => Object.hasOwn(left, key));
      return {
        ...left,
        ...right,
        ...Object.fromEntries(shared.map((key) => [key, { allOf: [left[key], right[key]] }])),
      };
    }
    if (name === "items" || name === "propertyNames") return { allOf: [left, right] };
    if (name === "uniqueItems" && typeof left === "boolean" && typeof right === "boolean") return left || right;
    if (name === "required" && Array.isArray(left) && Array.isArray(right)) {
      this.look(left.length + right.length);
      return [...new Set([...left, ...right])];
    }
    if (this.textOf(left) === this.textOf(right)) return left;
    if (typeof left === "number" && typeof right === "number") {
      if (/^(?:min|exclusiveMin)/.test(name)) return Math.max(left, right);
      if (/^(?:max|exclusiveMax)/.test(name)) return Math.min(left, right);
    }
    if (name === "type") {
      const [these, those] = [typesOf(left, where), typesOf(right, where)];
      const both = [...these.filter((type) => covers(those, type)), ...those.filter((type) => covers(these, type))];
      return [...new Set(both)];
    }
    if (name === "enum" && Array.isArray(left) && Array.isArray(right)) {
      this.look(left.length + right.length);
      const kept = new Set(right.map((value) => this.textOf(value)));
      return left.filter((value) => kept.has(this.textOf(value)));
    }
    throw grammarError(`${where}: two schemas with different ${name} cannot be put together`);
  }

  /** Counts work. @throws RandloraError `data` where it is too much */
  look(parts: number): void {
    this.#work.look(parts);
  }
}

/** The reference that a schema is, with nothing beside it, be it by itself in an `allOf`; undefined: it is none. */
export function referenceIn(schema: Keywords): unknown {
  const [name, other] = Object.keys(schema).filter((key) => !ANNOTATIONS.has(key));
  if (other !== undefined || name === undefined) return undefined;
  if (name === "$ref") return schema[name];
  const [only, ...more] = name === "allOf" && Array.isArray(schema[name]) ? schema[name] : [];
  return isRecord(only) && more.length === 0 ? referenceIn(only) : undefined;
}

/** @throws RandloraError `data` */
export function typesOf(value: unknown, where: Where): TypeName[] {
  const types = (Array.isArray(value) ? value : [value]).map((name) => {
    const known = TYPES.find((type) => type === name);
    if (known === undefined) throw grammarError(`${where}/type: ${JSON.stringify(name)?.slice(0, 60)} is no type`);
    return known;
  });
  return [...new Set(types)];
}

/** Is a type among others, a whole number being a number? */
function covers(types: readonly TypeName[], type: TypeName): boolean {
  return types.includes(type) || (type === "integer" && types.includes("number"));
}

/** A value's type; whole numbers are integers. */
export function typeOf(value: unknown): TypeName {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  if (typeof value === "string") return "string";
  return typeof value === "boolean" ? "boolean" : "object";
}

/** Is a value of one of these types? */
export function isOfTypes(value: unknown, types: readonly TypeName[]): boolean {
  return covers(types, typeOf(value));
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @throws RandloraError `data` for what is no list, or an empty one */
export function listOf(value: unknown, where: Where): readonly unknown[] {
  if (Array.isArray(value) && value.length > 0) return value;
  throw grammarError(`${where}: must be a list, not empty`);
}

/** A whole number, 0 or more. @throws RandloraError `data` */
export function countOf(value: unknown, where: Where): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw grammarError(`${where}: must be a whole number, 0 or more`);
}

function decodePart(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A value whose objects have their members by name. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isRecord(value)) return value;
  const names = Object.keys(value).toSorted();
  return Object.fromEntries(names.map((name) => [name, sorted(value[name])]));
}
