import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import type { DataRecord } from "../../records/record.ts";
import { describe, type Fail, list, readMessages, readShareGpt, type TrainingMessage } from "./messages.ts";

/** What a record is as a sample: one of the four kinds, with its fields checked. */
export type Recognized =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "completion"; readonly prompt: string; readonly completion: string }
  | {
      readonly kind: "chat";
      readonly messages: readonly TrainingMessage[];
      /** How many of them are the prompt of a completion, and not supervised. */
      readonly prompt?: number;
      readonly tools: readonly unknown[] | undefined;
    }
  | { readonly kind: "instruction"; readonly instruction: string; readonly input: string; readonly output: string };

/** Every field that is looked at. */
export const SAMPLE_FIELDS: readonly string[] = [
  "text",
  "prompt",
  "completion",
  "messages",
  "conversations",
  "system",
  "tools",
  "instruction",
  "input",
  "output",
];

const KNOWN = "known are {text}, {prompt, completion}, {messages}, {conversations} and {instruction, input, output}";

/**
 * Tells a sample's kind by its fields; a field that is null counts as missing, fields that no kind has are ignored. Where
 * the fields of several kinds are there, a completion goes before a chat, a chat before an instruction, and a plain text
 * comes last, because it is often one of the others rendered.
 *
 * @param file for errors
 * @throws {RandloraError} `data` naming the line, the fields that were found and the kinds that are known
 */
export function recognize(file: string, { place, fields }: DataRecord): Recognized {
  const fail: Fail = (problem, hint = "") => {
    throw new RandloraError("data", `${file}: ${place}: ${problem}`, hint);
  };
  const has = (name: string) => fields[name] !== undefined && fields[name] !== null;
  const text = (name: string): string => {
    const value = fields[name];
    return typeof value === "string" ? value : fail(`${quote(name)} is ${describe(value)}, not a text`);
  };
  if (has("prompt") && has("completion")) {
    const { prompt, completion, tools } = fields;
    if (Array.isArray(prompt) && Array.isArray(completion)) {
      const messages = readMessages([...prompt, ...completion], fail);
      return { kind: "chat", messages, prompt: prompt.length, tools: checkTools(tools, fail) };
    }
    return { kind: "completion", prompt: text("prompt"), completion: text("completion") };
  }
  if (has("messages")) {
    return {
      kind: "chat",
      messages: readMessages(fields["messages"], fail),
      tools: checkTools(fields["tools"], fail),
    };
  }
  if (has("conversations")) {
    const messages = readShareGpt(fields["conversations"], has("system") ? text("system") : undefined, fail);
    return { kind: "chat", messages, tools: checkTools(fields["tools"], fail) };
  }
  if (has("instruction") && has("output")) {
    const input = has("input") ? text("input") : "";
    return { kind: "instruction", instruction: text("instruction"), input, output: text("output") };
  }
  if (has("text")) return { kind: "text", text: text("text") };
  const found = Object.keys(fields).map((name) => (fields[name] === null ? `${quote(name)} (null)` : quote(name)));
  const keys = found.length === 0 ? "it has no fields" : `its fields are ${list(found)}`;
  const isMissing = Object.values(fields).includes(null);
  const why = isMissing
    ? "rename the fields, or fill what is null (of CSV also NA, None, nan and the like)"
    : "rename the fields";
  return fail(`not a sample of a known kind: ${keys}`, `${KNOWN}; ${why}`);
}

/** Tools as a list of JSON schemas, or, as tables have them, as its JSON text. */
function checkTools(value: unknown, fail: Fail): readonly unknown[] | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  let tools: unknown = value;
  if (typeof value === "string") {
    try {
      tools = JSON.parse(value);
    } catch {
      return fail('"tools" is a text that is not JSON');
    }
  }
  if (!Array.isArray(tools)) return fail(`"tools" is ${describe(tools)}, not a list`);
  return tools.length === 0 ? undefined : tools;
}
