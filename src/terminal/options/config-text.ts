import { parseDocument, visit } from "yaml";
import { RandloraError } from "../../files/errors.ts";

/*
 * A configuration file's values. Scalars are texts, as written (as YAML's failsafe schema has them): `012` stays `012`, and an
 * option reads it as it reads the command line. Types (YAML's core schema) matter within the JSON objects of some options, and
 * for what is left empty.
 *
 * Aliases make a small file a large value, or one that holds itself: what it comes to is counted before it is written out.
 */

const MAX_CHARACTERS = 2 ** 20;
const MAX_DEPTH = 32;

/** A value as it was written, every scalar a text, and as YAML's types have it. */
export interface Written {
  readonly text: unknown;
  readonly typed: unknown;
}

/** @throws {RandloraError} `format` naming the line */
export function parseYaml(name: string, source: string): Written {
  try {
    const document = parseDocument(source, { schema: "core", logLevel: "error" });
    for (const error of document.errors) throw error;
    const typed: unknown = document.toJS();
    // Not parsed again with the failsafe schema: that takes as long as the first time.
    visit(document, {
      Scalar(_, node) {
        node.value = node.source ?? node.value;
      },
    });
    return { text: document.toJS(), typed };
  } catch (cause) {
    // Its message goes on with the lines around the place.
    const [reason = ""] = (cause instanceof Error ? cause.message : String(cause)).split("\n");
    const hint = "write lines like `device: cpu`";
    throw new RandloraError("format", `${name}: not valid YAML: ${reason.replace(/:$/, "")}`, hint, { cause });
  }
}

/** The texts of a value, one for each item of a list; undefined where they would be too long. */
export function toTexts({ text, typed }: Written): readonly string[] | undefined {
  if (size(text, MAX_CHARACTERS, 0) > MAX_CHARACTERS) return undefined;
  const types: readonly unknown[] = Array.isArray(typed) ? typed : [];
  return Array.isArray(text) ? text.map((item, at) => toText(item, types[at])) : [toText(text, typed)];
}

/** Is this value a mapping of keys to values? */
export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function toText(text: unknown, typed: unknown): string {
  return isMapping(text) ? JSON.stringify(typed) : String(text);
}

/** Characters that a value comes to, at least; counted no further than `most`. */
function size(value: unknown, most: number, depth: number): number {
  if (typeof value !== "object" || value === null) return String(value).length + 1;
  if (depth > MAX_DEPTH) return Infinity;
  let sum = 2;
  for (const [key, item] of Object.entries(value)) {
    sum += key.length + size(item, most - sum, depth + 1);
    if (sum > most) return Infinity;
  }
  return sum;
}
