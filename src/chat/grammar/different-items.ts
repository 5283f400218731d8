import { type Expression, grammarError, graph, type GraphNode, sequence, text } from "./grammar.ts";
import { SPACE } from "./json.ts";
import { listedValues, literalOf, namesIn, typesIn, valuesOf } from "./listed-values.ts";
import { boundsOf, wholeBounds } from "./scalars.ts";
import {
  isRecord,
  type Keywords,
  type Schema,
  type SchemaReader,
  type TypeName,
  typeOf,
  TYPES,
  typesOf,
  type Where,
} from "./schema.ts";

/** Values of which lists of different ones are written. */
const MOST_DIFFERENT = 64;
/** Sets of values that may have been written; beyond them values come in the order of the schema. */
const MOST_SETS = 2000;

/**
 * What a list with `uniqueItems` may hold: different ones of few values, in any order where that is not too much.
 * @returns undefined: there are fewer than must be
 * @throws RandloraError `data` where they are not few
 */
export function differentItems(
  reader: SchemaReader,
  keywords: Keywords,
  [least, most]: readonly [number, number],
  where: Where,
): Expression | undefined {
  const { uniqueItems, items = true, prefixItems } = keywords;
  if (uniqueItems !== true) throw grammarError(`${where}/uniqueItems: must be true or false`);
  const schema = reader.flatten(reader.schemaOf(items, `${where}/items`), `${where}/items`);
  const all = schema === false ? [] : fewValues(reader, schema, `${where}/items`);
  const values = new Map(all?.map((value) => [reader.textOf(value), literalOf(value, `${where}/items`)]));
  if (all === undefined || prefixItems !== undefined || values.size > MOST_DIFFERENT) {
    const reason = `is supported where maxItems is 1, and of items that have at most ${MOST_DIFFERENT} values (enum)`;
    throw grammarError(`${where}: the keyword "uniqueItems" ${reason}`);
  }
  if (least > values.size) return undefined;
  const nodes = listOfDifferent([...values.values()], least, most);
  reader.look(nodes.length);
  return graph(nodes);
}

/** All values that keywords allow; undefined: they are many, or not known. */
function fewValues(reader: SchemaReader, keywords: Keywords, where: Where): readonly unknown[] | undefined {
  if (keywords["anyOf"] !== undefined || keywords["oneOf"] !== undefined) return undefined;
  const listed = listedValues(reader, keywords, where);
  if (listed !== undefined) return listed;
  const ofTypes = typesIn(keywords, where).map((type): readonly unknown[] | undefined => {
    if (type === "null") return [null];
    if (type === "boolean") return [true, false];
    if (type !== "integer") return undefined;
    const { step = 1, ...bounds } = boundsOf(keywords, where);
    const { first, last } = wholeBounds(bounds);
    if (step !== 1 || last - first >= MOST_DIFFERENT) return undefined;
    return Array.from({ length: last - first + 1 }, (_, at) => first + at);
  });
  return ofTypes.every((values) => values !== undefined) ? ofTypes.flat() : undefined;
}

function listOfDifferent(values: readonly string[], least: number, most: number): readonly GraphNode[] {
  const first = values.map((value) => text(value));
  const further = first.map((value) => sequence(text(","), SPACE, value));
  const isAnyOrder = countOfSets(values.length, most) <= MOST_SETS;
  /** Numbers of the values that have been written, in the schema's order. */
  const waiting: (readonly number[])[] = [[]];
  const numbers = new Map<string, number>();
  const numberOf = (written: readonly number[]): number => {
    const key = isAnyOrder ? written.join(" ") : `${written.at(-1)} ${written.length}`;
    const number = numbers.get(key) ?? waiting.push(written) - 1;
    numbers.set(key, number);
    return number;
  };
  const nodes: GraphNode[] = [];
  for (const written of waiting) {
    const from = isAnyOrder ? 0 : (written.at(-1) ?? -1) + 1;
    const parts = written.length === 0 ? first : further;
    const ways =
      written.length >= most ? [] : [...parts.entries()].filter(([at]) => at >= from && !written.includes(at));
    nodes.push({
      isEnd: written.length >= least,
      ways: ways.map(([at, part]) => ({ part, to: numberOf([...written, at].toSorted((a, b) => a - b)) })),
    });
  }
  return nodes;
}

/** Sets of at most so many of some values. */
function countOfSets(values: number, most: number): number {
  let [sum, ofSize] = [1, 1];
  for (let size = 1; size <= Math.min(values, most); size++) {
    ofSize = (ofSize * (values - size + 1)) / size;
    sum += ofSize;
  }
  return sum;
}

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
