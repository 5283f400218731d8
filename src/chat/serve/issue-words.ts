import type * as v from "valibot";
import { brief } from "../../files/failure.ts";

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
