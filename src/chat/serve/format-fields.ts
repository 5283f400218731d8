import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import { readGbnf } from "../grammar/gbnf.ts";
import type { Grammar } from "../grammar/grammar.ts";
import { ANY_OBJECT } from "../grammar/json.ts";
import { schemaGrammar } from "../grammar/json-schema.ts";
import { ApiError, badField } from "./api-error.ts";
import { nested, optional } from "./schemas.ts";

const Schema = v.record(v.string(), v.unknown());

/** Every schema is obeyed, strict or not. */
const Named = nested({
  name: optional(v.string()),
  description: optional(v.string()),
  schema: Schema,
  strict: optional(v.boolean()),
});

/** Fields that say what an answer may be. */
export const FORMAT_FIELDS = {
  response_format: optional(
    v.variant("type", [
      nested({ type: v.literal("text") }),
      // llama.cpp takes the schema here, too.
      nested({ type: v.literal("json_object"), schema: optional(Schema) }),
      nested({ type: v.literal("json_schema"), json_schema: Named }),
    ]),
  ),
  /** llama.cpp's names. */
  grammar: optional(v.string()),
  json_schema: optional(Schema),
} as const;

type FormatFields = v.InferOutput<v.ObjectSchema<typeof FORMAT_FIELDS, undefined>>;

/** What an answer must follow, and the field that says so. */
export interface AskedFormat {
  readonly grammar: Grammar | undefined;
  readonly grammarField: string | undefined;
}

/** The grammar that an answer must follow; undefined: it is free. @throws ApiError 400 naming what would not be obeyed */
export function readFormat({ response_format: format, grammar = "", json_schema: schema }: FormatFields): AskedFormat {
  const asked = [
    ...(grammar === "" ? [] : (["grammar"] as const)),
    ...(schema === undefined ? [] : (["json_schema"] as const)),
    ...(format === undefined || format.type === "text" ? [] : (["response_format"] as const)),
  ];
  const [name, other] = asked;
  if (name === undefined) return { grammar: undefined, grammarField: undefined };
  if (other !== undefined) throw badField(other, `cannot be given beside ${name}`);
  const read = (): Grammar => {
    if (name === "grammar") return readGbnf(grammar);
    if (name === "json_schema") return schemaGrammar(schema);
    if (format?.type === "json_schema") return schemaGrammar(format.json_schema.schema);
    const own = format?.type === "json_object" ? format.schema : undefined;
    return own === undefined ? ANY_OBJECT : schemaGrammar(own);
  };
  return { grammar: compiled(name, read), grammarField: name };
}

/** @throws ApiError 400 for the field, where a grammar or a schema cannot be followed */
export function compiled<T>(field: string, compile: () => T): T {
  try {
    return compile();
  } catch (error) {
    if (!(error instanceof RandloraError)) throw error;
    throw new ApiError(400, `${field}: ${error.message}`, { param: field, cause: error });
  }
}
