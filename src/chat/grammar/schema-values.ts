import { grammarError } from "./grammar.ts";
import { type Keywords, KEYWORDS_OF, type TypeName, TYPES, typesOf, type Where } from "./schema.ts";

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
