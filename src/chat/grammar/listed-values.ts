import { grammarError } from "./grammar.ts";
import { patternTest } from "./pattern.ts";
import { boundsOf, patternIn, rangeOf } from "./scalars.ts";
import { writtenFormat } from "./string-formats.ts";
import {
  countOf,
  isOfTypes,
  isRecord,
  type Keywords,
  KEYWORDS_OF,
  type SchemaReader,
  type TypeName,
  TYPES,
  typesOf,
  type Where,
} from "./schema.ts";

/**
 * Those of the values of `enum` and `const` that hold the keywords beside these.
 * @returns undefined: there is neither
 * @throws RandloraError `data` naming a keyword by which a value cannot be judged
 */
export function listedValues(reader: SchemaReader, keywords: Keywords, where: Where): readonly unknown[] | undefined {
  const values = valuesOf(keywords);
  if (values === undefined) return undefined;
  reader.look(values.length);
  const types = typesIn(keywords, where);
  const holds = judgeOf(reader, keywords, where);
  return values.filter((value) => isOfTypes(value, types) && holds(value));
}

/** Tells whether a value holds the keywords that are about its type. */
function judgeOf(reader: SchemaReader, keywords: Keywords, where: Where): (value: unknown) => boolean {
  const refuse = (name: string): never => {
    throw grammarError(`${where}: ${name} beside enum or const is not supported`);
  };
  const tests = new Map<string, (value: string) => boolean>();
  const matches = (pattern: string, value: string): boolean => {
    const test = tests.get(pattern) ?? patternTest(pattern);
    tests.set(pattern, test);
    return test(value);
  };
  const ofNumber = (value: number): boolean => {
    const { least = -Infinity, most = Infinity, above = -Infinity, below = Infinity, step } = boundsOf(keywords, where);
    // Of other steps it depends on how they are rounded.
    if (step !== undefined && !(Number.isSafeInteger(step) && step > 0)) refuse("multipleOf");
    const isWithin = value >= least && value <= most && value > above && value < below;
    return isWithin && (step === undefined || value % step === 0);
  };
  const ofString = (value: string): boolean => {
    const { pattern, format } = keywords;
    // What is not surely of a format may be so all the same.
    if (format !== undefined && !matches(writtenFormat(format, [0, Infinity], where).pattern, value)) refuse("format");
    const [least, most] = rangeOf(keywords, "Length", where);
    const length = Array.from(value).length;
    return length >= least && length <= most && (pattern === undefined || matches(patternIn(pattern, where), value));
  };
  const ofArray = (value: readonly unknown[]): boolean => {
    for (const name of ["items", "prefixItems"]) if (keywords[name] !== undefined) refuse(name);
    const [least, most] = rangeOf(keywords, "Items", where);
    const isSet =
      keywords["uniqueItems"] !== true || new Set(value.map((one) => reader.textOf(one))).size === value.length;
    return value.length >= least && value.length <= most && isSet;
  };
  const ofObject = (value: Keywords): boolean => {
    for (const name of ["properties", "additionalProperties", "propertyNames"])
      if (keywords[name] !== undefined) refuse(name);
    const [least = 0, most = Infinity] = ["minProperties", "maxProperties"].map((name) =>
      countOf(keywords[name], `${where}/${name}`),
    );
    const count = Object.keys(value).length;
    return count >= least && count <= most && namesIn(keywords, where).every((name) => Object.hasOwn(value, name));
  };
  return (value) => {
    if (typeof value === "number") return ofNumber(value);
    if (typeof value === "string") return ofString(value);
    if (Array.isArray(value)) return ofArray(value);
    return !isRecord(value) || ofObject(value);
  };
}

/** What `enum` and `const` leave; undefined: they are not there. */
export function valuesOf(keywords: Keywords): readonly unknown[] | undefined {
  const listed = keywords["enum"];
  const values = Array.isArray(listed) ? listed : undefined;
  if (!Object.hasOwn(keywords, "const")) return values;
  const only = JSON.stringify(keywords["const"]);
  if (values === undefined) return [keywords["const"]];
  return values.filter((value) => JSON.stringify(value) === only);
}

/** The types that a value may have: those that are named, else those that the keywords are about, else all. */
export function typesIn(keywords: Keywords, where: Where): readonly TypeName[] {
  if (keywords["type"] !== undefined) {
    const named = typesOf(keywords["type"], where);
    return named.includes("number") ? named.filter((type) => type !== "integer") : named;
  }
  const all = TYPES.filter((type) => type !== "integer");
  if (valuesOf(keywords) !== undefined) return all;
  const meant = all
    .filter((type) => type in KEYWORDS_OF)
    .filter((type) => {
      const names =
        type === "object" || type === "array" || type === "string" || type === "number" ? KEYWORDS_OF[type] : [];
      return names.some((name) => keywords[name] !== undefined);
    });
  return meant.length > 0 ? meant : all;
}

/** The names of `required`. @throws RandloraError `data` */
export function namesIn(keywords: Keywords, where: Where): readonly string[] {
  const { required = [] } = keywords;
  if (Array.isArray(required) && required.every((name) => typeof name === "string")) return required;
  throw grammarError(`${where}/required: must be a list of names`);
}

/** Of members' names: they are strings, said or not. */
export function nameSchema(naming: unknown): Keywords {
  return { allOf: [{ type: "string" }, naming] };
}

/**
 * A value of `enum` or `const` as JSON.
 * @throws RandloraError `data` for a number that is no longer the one in the request: whole ones beyond 2^53 are rounded
 */
export function literalOf(value: unknown, where: Where): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (typeof part !== "number" || Number.isSafeInteger(part) || (Number.isFinite(part) && !Number.isInteger(part)))
      return part;
    throw grammarError(`${where}: a number beyond 2^53 in enum or const is not supported`);
  });
}
