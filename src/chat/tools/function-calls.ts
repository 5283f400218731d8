import {
  characters,
  choice,
  type Expression,
  grammarError,
  maybe,
  repeat,
  rule,
  sequence,
  text,
  textUpTo,
} from "../grammar/grammar.ts";
import { JSON_RULES } from "../grammar/json.ts";
import { schemaRules } from "../grammar/json-schema.ts";
import { isRecord, type SchemaWork } from "../grammar/schema.ts";
import { type Call, newCallId } from "./formats.ts";

/*
 * Calls as Qwen3-Coder and Qwen 3.5 write them: `<function=NAME>`, in it `<parameter=KEY>` for each argument, on lines of their own. A
 * value whose schema has strings is one as it stands; others are JSON.
 */

/** A tool as its calls are read. */
export interface CalledTool {
  readonly name: string;
  /** A JSON schema; undefined: any object. */
  readonly parameters: unknown;
}

const [FUNCTION, END_FUNCTION, PARAMETER, END_PARAMETER] = [
  "<function=",
  "</function>",
  "<parameter=",
  "</parameter>",
] as const;

/** The call that a text between `<tool_call>` and `</tool_call>` is; undefined: it is none. */
export function readFunctionCall(text: string, tools: readonly CalledTool[]): Call | undefined {
  if (!text.startsWith(FUNCTION) || !text.endsWith(END_FUNCTION)) return undefined;
  const body = text.slice(FUNCTION.length, -END_FUNCTION.length);
  const head = body.indexOf(">");
  if (head < 0) return undefined;
  const name = body.slice(0, head).trim();
  const schema = tools.find((tool) => tool.name === name)?.parameters;
  const given: [string, unknown][] = [];
  for (let at = body.indexOf(PARAMETER, head); at >= 0; at = body.indexOf(PARAMETER, at)) {
    const key = at + PARAMETER.length;
    const value = body.indexOf(">", key) + 1;
    const end = value === 0 ? -1 : body.indexOf(END_PARAMETER, value);
    if (end < 0) return undefined;
    const named = body.slice(key, value - 1).trim();
    const written = body.slice(value, end).replace(/^\n/, "").replace(/\n$/, "");
    given.push([named, valueOf(written, typesOf(propertiesOf(schema)[named], schema))]);
    at = end;
  }
  return { id: newCallId(), name, arguments: JSON.stringify(Object.fromEntries(given)) };
}

function valueOf(written: string, types: ReadonlySet<unknown>): unknown {
  if (written === "null" && types.has("null")) return null;
  if (types.has("string")) return written;
  if (types.has("boolean") && /^(?:true|false)$/i.test(written)) return written.toLowerCase() === "true";
  try {
    return JSON.parse(written);
  } catch {
    return written;
  }
}

/**
 * Adds the rules of a call of a tool.
 * @param name that they begin with
 * @throws RandloraError `data` for a schema that would not be obeyed
 */
export function functionCall(
  tool: CalledTool,
  name: string,
  rules: Map<string, Expression>,
  work: SchemaWork,
): Expression {
  for (const [part, body] of JSON_RULES) rules.set(part, body);
  const schema = tool.parameters;
  const required = isRecord(schema) && Array.isArray(schema["required"]) ? schema["required"] : [];
  const properties = propertiesOf(schema);
  const missing = required.find((key) => !Object.hasOwn(properties, String(key)));
  if (missing !== undefined) throw refusal(tool, String(missing), "required, and not among the properties");
  const isOpen = !isRecord(schema) || schema["additionalProperties"] !== false;
  if (isOpen && Object.keys(properties).length === 0) {
    const value = textUpTo(`\n${END_PARAMETER}`, name, text("\n"), rules, false);
    const any = sequence(text(PARAMETER), repeat(KEY_CHARACTER, 1, MOST_KEY), text(">\n"), value);
    return sequence(text(`${FUNCTION}${tool.name}>\n`), repeat(any, 0), text(END_FUNCTION));
  }
  const given = Object.entries(properties).map(([key, property], index) => {
    if (/[>\n]/.test(key)) throw refusal(tool, key, "such a name");
    const value = valueRule(tool, key, property, { name: `${name} ${index}`, rules, work });
    const parameter = sequence(text(`${PARAMETER}${key}>\n`), value, text("\n"));
    return required.includes(key) ? parameter : maybe(parameter);
  });
  return sequence(text(`${FUNCTION}${tool.name}>\n`), ...given, text(END_FUNCTION));
}

/** Of a name that no schema has. */
const MOST_KEY = 64;
const KEY_CHARACTER = characters([
  [0x21, 0x3d],
  [0x3f, 0x7e],
]);

const HELD = ["pattern", "format", "minLength", "maxLength", "allOf", "not", "if"] as const;

/** A value, and what ends it. */
function valueRule(
  tool: CalledTool,
  key: string,
  property: unknown,
  { name, rules, work }: { readonly name: string; readonly rules: Map<string, Expression>; readonly work: SchemaWork },
): Expression {
  const root = tool.parameters;
  const types = typesOf(property, root);
  if (types.size > 0 && !types.has("string")) {
    const definitions = isRecord(root) ? { $defs: root["$defs"] ?? {}, definitions: root["definitions"] ?? {} } : {};
    const document = isRecord(property) ? { ...definitions, ...property } : property;
    for (const [part, body] of schemaRules(document, name, work)) rules.set(part, body);
    return sequence(rule(name), text(`\n${END_PARAMETER}`));
  }
  const choices = choicesOf(property, root);
  if (choices !== undefined) return sequence(choice(...choices.map(text)), text(`\n${END_PARAMETER}`));
  const held = HELD.find((keyword) => JSON.stringify(property ?? {}).includes(`"${keyword}":`));
  if (held !== undefined) throw refusal(tool, key, held);
  return textUpTo(`\n${END_PARAMETER}`, name, text(""), rules, false);
}

/** The strings that a schema lists; undefined: it lists none. */
function choicesOf(schema: unknown, root: unknown): readonly string[] | undefined {
  const found = resolved(schema, root);
  if (!isRecord(found)) return undefined;
  const listed: unknown = "const" in found ? [found["const"]] : found["enum"];
  if (!Array.isArray(listed)) return undefined;
  const strings = listed.filter((one) => typeof one === "string");
  return strings.length === listed.length && strings.length > 0 ? strings : undefined;
}

function propertiesOf(schema: unknown): Readonly<Record<string, unknown>> {
  const properties = isRecord(schema) ? schema["properties"] : undefined;
  return isRecord(properties) ? properties : {};
}

/** References in each other that are followed. */
const MOST_DEPTH = 8;

/** The types of values that a schema allows; none: it does not say. */
function typesOf(schema: unknown, root: unknown, depth = 0): ReadonlySet<unknown> {
  const found = resolved(schema, root);
  if (!isRecord(found) || depth > MOST_DEPTH) return new Set();
  const { type, enum: listed, anyOf, oneOf } = found;
  if (type !== undefined) return new Set(Array.isArray(type) ? type : [type]);
  if ("const" in found) return new Set([typeOf(found["const"])]);
  if (Array.isArray(listed)) return new Set(listed.map(typeOf));
  const options: readonly unknown[] = Array.isArray(anyOf) ? anyOf : Array.isArray(oneOf) ? oneOf : [];
  const types = options.map((option) => typesOf(option, root, depth + 1));
  return types.every((one) => one.size > 0) ? new Set(types.flatMap((one) => [...one])) : new Set();
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

/** The schema that one refers to among the root's definitions. */
function resolved(schema: unknown, root: unknown): unknown {
  let found = schema;
  for (let depth = 0; depth < MOST_DEPTH && isRecord(found) && typeof found["$ref"] === "string"; depth++) {
    const [, kind = "", name = ""] = /^#\/(\$defs|definitions)\/([^/]+)$/.exec(found["$ref"]) ?? [];
    const definitions = isRecord(root) ? root[kind] : undefined;
    found = isRecord(definitions) && Object.hasOwn(definitions, name) ? definitions[name] : undefined;
  }
  return found;
}

function refusal({ name }: CalledTool, key: string, what: string): Error {
  return grammarError(`the parameters of ${name}: ${key}: ${what} is not supported in this model's format of calls`);
}
