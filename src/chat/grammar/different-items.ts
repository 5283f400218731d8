import { type Expression, graph, type GraphNode, grammarError, sequence, text } from "./grammar.ts";
import { SPACE } from "./json.ts";
import { listedValues } from "./listed-values.ts";
import { wholeBounds } from "./numbers.ts";
import { boundsOf } from "./scalars.ts";
import { literalOf, typesIn } from "./schema-values.ts";
import type { Keywords, SchemaReader, Where } from "./schema.ts";

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
