import {
  choice,
  either,
  type Expression,
  type Grammar,
  grammarError,
  repeat,
  ROOT,
  rule,
  sequence,
  text,
} from "./grammar.ts";
import { ARRAY, array, BOOLEAN, JSON_RULES, list, member, NULL, OBJECT, object, SPACE, STRING, VALUE } from "./json.ts";
import { checkCounts, numberOf, rangeOf, stringOf } from "./scalars.ts";
import { differentItems, requireApart } from "./different-items.ts";
import { listedValues, literalOf, nameSchema, namesIn, typesIn } from "./listed-values.ts";
import {
  countOf,
  isRecord,
  type Keywords,
  KEYWORDS_OF,
  listOf,
  referenceIn,
  type Schema,
  SchemaReader,
  SchemaWork,
  type TypeName,
  type Where,
} from "./schema.ts";

/**
 * The JSON texts that a schema allows, as a grammar. Each of them is valid; not every valid one is among them: members come
 * in the order in which the schema names them, an object whose members are named has no others, and numbers, strings of a
 * `format` and white space are kept to what is usual.
 * @throws RandloraError `data` naming the keyword that would not be obeyed, and where it stands
 */
export function schemaGrammar(document: unknown): Grammar {
  return new Map([...JSON_RULES, ...schemaRules(document, ROOT)]);
}

/**
 * The rules of a schema, beside those of JSON.
 * @param name of the rule that its texts follow; those of its parts begin with it
 * @param work counted with that of the request's other schemas
 * @throws RandloraError as {@link schemaGrammar}
 */
export function schemaRules(document: unknown, name: string, work = new SchemaWork()): Grammar {
  const schema = typeof document === "boolean" || isRecord(document) ? document : refuseDocument();
  return new Compiler(schema, name, work).compile();
}

function refuseDocument(): never {
  throw grammarError("the schema is not an object");
}

/** Schemas in each other; more than a body may have, as those that are put together are made anew. */
const MOST_DEPTH = 300;

class Compiler {
  readonly #name: string;
  readonly #reader: SchemaReader;
  readonly #rules = new Map<string, Expression>();
  /** Rules of schemas that are referred to. */
  readonly #named = new Map<Schema, string>();
  /** Those whose bodies are still to be made: one by one, however they refer to each other. */
  readonly #unfinished: { readonly name: string; readonly schema: Schema; readonly where: Where }[] = [];
  /** Why nothing is allowed, as far as that has been found: the first schema within that allows nothing. */
  #impossible: Where | undefined;
  #count = 0;
  #depth = 0;

  constructor(document: Schema, name: string, work: SchemaWork) {
    this.#name = name;
    this.#reader = new SchemaReader(document, work);
    this.#unfinished.push({ name, schema: document, where: "#" });
  }

  compile(): Grammar {
    for (let next = this.#unfinished.pop(); next !== undefined; next = this.#unfinished.pop()) {
      const body = this.#body(next.schema, next.where);
      if (body === undefined && next.name === this.#name)
        throw grammarError(`${this.#impossible ?? next.where}: the schema allows no value`);
      // One that allows nothing is a rule without a text: of an anyOf the other schemas are left.
      this.#rules.set(next.name, body ?? choice());
    }
    return this.#rules;
  }

  /** @returns undefined: the schema allows nothing */
  #expression(value: unknown, where: Where): Expression | undefined {
    const schema = this.#reader.schemaOf(value, where);
    // What is put together with the schema referred to may hold itself: it is a rule, too.
    const isPutTogether = typeof schema !== "boolean" && ["$ref", "allOf"].some((name) => Object.hasOwn(schema, name));
    if (isPutTogether && referenceIn(schema) === undefined) return this.#reference(schema, where);
    return this.#body(schema, where);
  }

  #body(schema: Schema, where: Where): Expression | undefined {
    if (typeof schema === "boolean") return schema ? VALUE : undefined;
    const reference = referenceIn(schema);
    if (reference !== undefined) return this.#reference(this.#reader.lookUp(reference, where), where);
    return this.#flat(this.#reader.flatten(schema, where), where);
  }

  #reference(target: Schema, where: Where): Expression {
    const known = this.#named.get(target);
    if (known !== undefined) return rule(known);
    const name = this.#newName();
    this.#named.set(target, name);
    this.#unfinished.push({ name, schema: target, where });
    return rule(name);
  }

  #flat(keywords: Keywords | false, where: Where): Expression | undefined {
    if (keywords === false) return undefined;
    if (this.#depth >= MOST_DEPTH) throw grammarError(`${where}: more than ${MOST_DEPTH} schemas in each other`);
    this.#depth++;
    const found = this.#branches(keywords, where);
    this.#impossible = found === undefined ? (this.#impossible ?? where) : undefined;
    this.#depth--;
    return found;
  }

  #branches(keywords: Keywords, where: Where): Expression | undefined {
    const { anyOf, oneOf, ...base } = keywords;
    if (anyOf !== undefined && oneOf !== undefined) throw grammarError(`${where}: anyOf beside oneOf is not supported`);
    if (anyOf === undefined && oneOf === undefined) return this.#values(base, where);
    const name = anyOf === undefined ? "oneOf" : "anyOf";
    const branches = listOf(anyOf ?? oneOf, `${where}/${name}`).map((one, index) =>
      this.#reader.schemaOf(one, `${where}/${name}/${index}`),
    );
    if (name === "oneOf") requireApart(this.#reader, branches, base, `${where}/oneOf`);
    const options = branches.map((branch, index) => {
      const at = `${where}/${name}/${index}`;
      if (Object.keys(base).length === 0) return this.#expression(branch, at);
      const own = this.#reader.flatten(branch, at);
      return own === false ? undefined : this.#flat(this.#reader.merged(base, own, at), at);
    });
    // Where none of several allows anything, none of them is the one to blame.
    if (options.length > 1) this.#impossible = undefined;
    return either(options);
  }

  #values(keywords: Keywords, where: Where): Expression | undefined {
    const values = listedValues(this.#reader, keywords, where);
    if (values !== undefined) return either(values.map((value) => text(literalOf(value, where))));
    return either(typesIn(keywords, where).map((type) => this.#ofType(type, keywords, where)));
  }

  #ofType(type: TypeName, keywords: Keywords, where: Where): Expression | undefined {
    switch (type) {
      case "null":
        return NULL;
      case "boolean":
        return BOOLEAN;
      case "string":
        return stringOf(this.#reader, keywords, where);
      case "integer":
      case "number":
        return numberOf(type, keywords, where);
      case "array":
        return this.#array(keywords, where);
      case "object":
        return this.#object(keywords, where);
    }
  }

  #array(keywords: Keywords, where: Where): Expression | undefined {
    if (KEYWORDS_OF.array.every((name) => keywords[name] === undefined)) return ARRAY;
    const [least, most] = rangeOf(keywords, "Items", where);
    checkCounts([least, most], `${where}/maxItems`);
    if (keywords["uniqueItems"] !== undefined && keywords["uniqueItems"] !== false && most > 1) {
      const items = differentItems(this.#reader, keywords, [least, most], where);
      return items && array(items);
    }
    const prefix =
      keywords["prefixItems"] === undefined
        ? []
        : listOf(keywords["prefixItems"], `${where}/prefixItems`).map((one, index) =>
            this.#expression(one, `${where}/prefixItems/${index}`),
          );
    // A list may end before an item that has no value.
    const [impossible] = prefix.flatMap((one, at) => (one === undefined ? [at] : []));
    const end = Math.min(most, impossible ?? Infinity);
    if (least > end) return undefined;
    const fixed = prefix.slice(0, end).filter((one) => one !== undefined);
    const item = keywords["items"] === undefined ? VALUE : this.#expression(keywords["items"], `${where}/items`);
    const others = Math.max(0, least - fixed.length);
    if (item === undefined && others > 0) return undefined;
    const [first, ...rest] = fixed;
    if (first === undefined) return array(item === undefined ? text("") : list(item, least, end));
    const comma = (one: Expression): Expression => sequence(text(","), SPACE, one);
    const more = item === undefined ? text("") : repeat(comma(item), others, end - fixed.length);
    return array(sequence(first, ...rest.map(comma), more));
  }

  #object(keywords: Keywords, where: Where): Expression | undefined {
    if (KEYWORDS_OF.object.every((name) => keywords[name] === undefined)) return OBJECT;
    const { properties = {}, additionalProperties: others = true, propertyNames: naming = true } = keywords;
    if (!isRecord(properties)) throw grammarError(`${where}/properties: must be an object`);
    const required = new Set(namesIn(keywords, where));
    const names = [...new Set([...Object.keys(properties), ...required])];
    const least = countOf(keywords["minProperties"], `${where}/minProperties`) ?? 0;
    const most = countOf(keywords["maxProperties"], `${where}/maxProperties`) ?? Infinity;
    if (least > Math.max(1, required.size) || (least > 0 && names.length > 0 && least > required.size)) {
      throw grammarError(`${where}: minProperties of more than the required ones is not supported`);
    }
    if (names.length === 0) {
      checkCounts([most], `${where}/maxProperties`);
      const value = this.#expression(others, `${where}/additionalProperties`);
      const name = naming === true ? STRING : this.#expression(nameSchema(naming), `${where}/propertyNames`);
      if (value === undefined || name === undefined) {
        this.#impossible = undefined;
        return least > 0 ? undefined : object(text(""));
      }
      return object(list(member(name, value), least, most));
    }
    if (most < names.length)
      throw grammarError(`${where}: maxProperties of fewer than the named ones is not supported`);
    const members: { readonly expression: Expression; readonly isRequired: boolean }[] = [];
    for (const name of names) {
      const own = Object.hasOwn(properties, name);
      const at = own ? `${where}/properties/${name}` : `${where}/additionalProperties`;
      const mayBeThere = naming === true || this.#names(name, naming, `${where}/propertyNames`);
      const value = mayBeThere ? this.#expression(own ? properties[name] : others, at) : undefined;
      const isRequired = required.has(name);
      if (value === undefined && isRequired) return undefined;
      if (value === undefined) {
        this.#impossible = undefined;
        continue;
      }
      // It is used twice below: a repetition's part is there once.
      members.push({ expression: repeat(member(text(JSON.stringify(name)), value), 1, 1), isRequired });
    }
    return object(this.#members(members));
  }

  /** May a member be called so? */
  #names(name: string, naming: unknown, where: Where): boolean {
    const keywords = this.#reader.flatten({ allOf: [{ enum: [name] }, nameSchema(naming)] }, where);
    return keywords !== false && this.#flat(keywords, where) !== undefined;
  }

  /** Members in their order, with commas between those that are there. */
  #members(members: readonly { readonly expression: Expression; readonly isRequired: boolean }[]): Expression {
    // From the end: what may follow the first member that is there, and what may follow another one.
    let first: Expression = text("");
    let later: Expression = text("");
    for (const { expression, isRequired } of members.toReversed()) {
      const behind = this.#rule(later);
      const [started, further] = [sequence(expression, behind), sequence(text(","), SPACE, expression, behind)];
      first = isRequired ? started : choice(started, this.#rule(first));
      later = isRequired ? further : choice(further, behind);
    }
    return first;
  }

  #rule(body: Expression): Expression {
    const name = this.#newName();
    this.#rules.set(name, body);
    return rule(name);
  }

  #newName(): string {
    return `${this.#name} ${this.#count++}`;
  }
}
