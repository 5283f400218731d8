import { grammarError } from "./grammar.ts";
import { patternTest } from "./pattern.ts";
import { boundsOf, patternIn, rangeOf } from "./scalars.ts";
import { writtenFormat } from "./string-formats.ts";
import { namesIn, typesIn, valuesOf } from "./schema-values.ts";
import { countOf, isOfTypes, isRecord, type Keywords, type SchemaReader, type Where } from "./schema.ts";

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
