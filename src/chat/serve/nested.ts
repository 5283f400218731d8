import * as v from "valibot";
import { optional } from "./optional.ts";

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
