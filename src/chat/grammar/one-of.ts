import { grammarError } from "./grammar.ts";
import { namesIn, typesIn, valuesOf } from "./schema-values.ts";
import {
  isRecord,
  type Keywords,
  type Schema,
  type SchemaReader,
  typeOf,
  type TypeName,
  TYPES,
  typesOf,
  type Where,
} from "./schema.ts";

/** Schemas of a `oneOf`: each is held to each. */
const MOST_APART = 64;

/**
 * Of `oneOf` exactly one must hold: that is so where no value that is written by one schema holds another.
 * @param base the keywords beside `oneOf`, which hold with each of its schemas
 * @throws RandloraError `data` where two may hold at once
 */
export function requireApart(reader: SchemaReader, branches: readonly Schema[], base: Keywords, where: Where): void {
  if (branches.length > MOST_APART) throw grammarError(`${where}: more than ${MOST_APART} schemas are not supported`);
  const possible = branches
    .map((branch, index) => reader.flatten(branch, `${where}/${index}`))
    .filter((one) => one !== false);
  for (const own of possible) {
    const written = reader.merged(base, own, where);
    for (const other of possible) {
      if (written === false || own === other || isApart(reader, written, other, where)) continue;
      throw grammarError(`${where}: two of its schemas may hold at once; anyOf is supported`);
    }
  }
}

/** Does no value that is written by one schema hold another? */
function isApart(reader: SchemaReader, written: Keywords, other: Keywords, where: Where): boolean {
  const disjoint = areDisjoint(reader, written, other);
  if (disjoint !== undefined) return disjoint;
  const allowed = typesAllowed(other, where);
  const common = typesWritten(written, where).filter((type) => allowed.some((one) => overlap(type, one)));
  if (common.some((type) => type !== "object")) return false;
  return common.length === 0 || isTold(reader, written, other, where);
}

/** Do `enum` and `const` of two schemas share no value? Undefined: one of them has none. */
function areDisjoint(reader: SchemaReader, one: Keywords, other: Keywords): boolean | undefined {
  const [these, those] = [valuesOf(one), valuesOf(other)];
  if (these === undefined || those === undefined) return undefined;
  const known = new Set(these.map((value) => reader.textOf(value)));
  return those.every((value) => !known.has(reader.textOf(value)));
}

/** Is there a member that objects of one schema always have, with a value that the other one does not allow? */
function isTold(reader: SchemaReader, written: Keywords, other: Keywords, where: Where): boolean {
  const [mine, theirs] = [written["properties"], other["properties"]];
  if (!isRecord(mine) || !isRecord(theirs)) return false;
  const required = namesIn(written, where);
  reader.look(Object.keys(mine).length + required.length);
  return required.some((key) => {
    if (!Object.hasOwn(mine, key) || !Object.hasOwn(theirs, key)) return false;
    const [a, b] = [mine[key], theirs[key]].map((value) => reader.flatten(reader.schemaOf(value, where), where));
    if (a === undefined || b === undefined || a === false || b === false) return false;
    return areDisjoint(reader, a, b) === true;
  });
}

/** The types that a schema allows: keywords of a type say nothing about values of other types. */
function typesAllowed(keywords: Keywords, where: Where): readonly TypeName[] {
  const values = valuesOf(keywords);
  if (values !== undefined) return values.map(typeOf);
  return keywords["type"] === undefined ? TYPES : typesOf(keywords["type"], where);
}

/** Those of the values that are written: of a schema without a type fewer, unless its parts name others. */
function typesWritten(keywords: Keywords, where: Where): readonly TypeName[] {
  const hasParts = keywords["anyOf"] !== undefined || keywords["oneOf"] !== undefined;
  return hasParts || valuesOf(keywords) !== undefined ? typesAllowed(keywords, where) : typesIn(keywords, where);
}

function overlap(one: TypeName, other: TypeName): boolean {
  const isNumber = (type: TypeName): boolean => type === "integer" || type === "number";
  return one === other || (isNumber(one) && isNumber(other));
}
