import { grammarError } from "./grammar.ts";
import {
  isRecord,
  type Keywords,
  KEYWORDS_OF,
  type SchemaReader,
  type TypeName,
  TYPES,
  typesOf,
  type Where,
} from "./schema.ts";

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

/** Are there no values that both of two schemas allow? */
export function areApart(reader: SchemaReader, one: Keywords, other: Keywords, where: Where): boolean {
  const [these, those] = [valuesOf(one), valuesOf(other)];
  if (these !== undefined && those !== undefined) {
    const known = new Set(these.map((value) => reader.textOf(value)));
    return those.every((value) => !known.has(reader.textOf(value)));
  }
  const [left, right] = [typesIn(one, where), typesIn(other, where)];
  const widened = right.flatMap((type) => (type === "number" || type === "integer" ? ["number", "integer"] : [type]));
  if (left.every((type) => !widened.includes(type))) return true;
  if ([...left, ...right].some((type) => type !== "object")) return false;
  const [mine, theirs] = [one["properties"], other["properties"]];
  if (!isRecord(mine) || !isRecord(theirs)) return false;
  const required = [one, other].map((keywords) => new Set(namesIn(keywords, where)));
  reader.look(Object.keys(mine).length + required.reduce((sum, { size }) => sum + size, 0));
  return Object.keys(mine).some((key) => {
    if (!Object.hasOwn(theirs, key) || !required.every((names) => names.has(key))) return false;
    const [a, b] = [mine[key], theirs[key]].map((value) => reader.flatten(reader.schemaOf(value, where), where));
    if (a === undefined || b === undefined || a === false || b === false) return false;
    return valuesOf(a) !== undefined && valuesOf(b) !== undefined && areApart(reader, a, b, where);
  });
}
