import * as v from "valibot";
import { brief } from "../../files/failure.ts";

/** May be missing; clients also send `null` for what they do not mean to say. */
export const optional = <S extends v.GenericSchema>(schema: S) => v.nullish(schema, () => undefined);

export const UNSUPPORTED = "not supported by this server";

/** A key that clients send and that changes no answer. */
export const IGNORED = v.optional(v.unknown());

/** An object within a body: a key that is not among `entries` is refused, as fields of the body are, unless it is null. */
export function nested<const E extends v.ObjectEntries>(entries: E) {
  return v.objectWithRest(entries, v.null(UNSUPPORTED));
}

const TEXT = nested({
  type: v.string(),
  text: optional(v.unknown()),
  annotations: IGNORED,
  logprobs: IGNORED,
  parsed: IGNORED,
  cache_control: IGNORED,
});
const OTHER = v.looseObject({ type: v.string() });

/** One that is no text is refused later, by its type. */
const PART = v.lazy((part) =>
  typeof part === "object" && part !== null && "type" in part && String(part.type).endsWith("text") ? TEXT : OTHER,
);
const PARTS = v.array(PART);
const STRING_OR_LIST = v.union([v.string(), PARTS]);

/** The content of a message: a text, or parts. What is wrong with a part is said of it, not of all. */
export const CONTENT = v.lazy((content) => (Array.isArray(content) ? PARTS : STRING_OR_LIST));

const KINDS: ReadonlyMap<string, string> = new Map([
  ["string", "a string"],
  ["number", "a number"],
  ["boolean", "true or false"],
  ["Array", "a list"],
  ["Object", "an object"],
]);

/** What a schema found wrong with a field, as a sentence that goes on from the field's name. */
export function issueInWords(issue: v.BaseIssue<unknown>): string {
  const { kind, type, expected, received, requirement, message } = issue;
  if (received === "undefined") return "is missing";
  // A message of the schema's own.
  if (!message.startsWith("Invalid ")) return message;
  // What was sent may be long.
  const sent = brief(KINDS.get(received) ?? received);
  if (kind === "schema") return `must be ${wordsOf(expected ?? "")}, not ${sent}`;
  if (type === "min_value") return `must be at least ${requirement}, not ${sent}`;
  if (type === "max_value") return `must be at most ${requirement}, not ${sent}`;
  if (type === "gt_value") return `must be more than ${requirement}, not ${sent}`;
  if (type === "max_length") return `has ${sent} items, and ${requirement} are allowed`;
  if (type === "finite") return `must be a finite number, not ${sent}`;
  return `must be a whole number, not ${sent}`;
}

/** `("user" | "system")` → `"user" or "system"`. */
function wordsOf(expected: string): string {
  const parts = expected.replace(/^\((.*)\)$/, "$1").split(" | ");
  const words = parts.map((part) => KINDS.get(part) ?? part);
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
