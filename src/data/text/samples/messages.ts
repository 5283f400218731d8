import { quote } from "../../../files/failure.ts";
import type { ChatMessage } from "../chat-template.ts";

/** A message as a chat template takes it: its content is a text, the arguments of tool calls are objects. */
export interface TrainingMessage extends ChatMessage {
  /** OpenAI's: 0 keeps an assistant's turn out of the loss. Templates never see it. */
  readonly weight?: 0 | 1;
}

/** Throws what is wrong with a record, with its place. */
export type Fail = (problem: string, hint?: string) => never;

/** What a record calls its messages and their parts. */
interface Names {
  readonly messages: string;
  readonly role: string;
  readonly content: string;
}

const OPENAI: Names = { messages: "messages", role: "role", content: "content" };
const SHAREGPT: Names = { messages: "conversations", role: "from", content: "value" };

/** Reads the `messages` of a record. */
export function readMessages(value: unknown, fail: Fail, names = OPENAI): readonly TrainingMessage[] {
  if (!Array.isArray(value)) return fail(`${quote(names.messages)} is ${describe(value)}, not a list`);
  if (value.length === 0) return fail(`${quote(names.messages)} is empty`);
  return value.map((message: unknown, i) => {
    const failHere: Fail = (problem, hint) => fail(`message ${i + 1}${problem}`, hint);
    if (!isObject(message)) {
      return failHere(` is ${describe(message)}, not an object with ${names.role} and ${names.content}`);
    }
    return readMessage(names === SHAREGPT ? withRole(message, failHere) : message, failHere, names);
  });
}

/** ShareGPT's names of roles, and those of data that follow it (Axolotl, LLaMA-Factory). */
const ROLES: Readonly<Record<string, string>> = {
  human: "user",
  gpt: "assistant",
  model: "assistant",
  bot: "assistant",
  function_call: "assistant",
  observation: "tool",
};

/** ShareGPT's `{from, value}` as `{role, content}`; some write these there, too. */
function withRole(message: Readonly<Record<string, unknown>>, fail: Fail): Readonly<Record<string, unknown>> {
  const { from, value: content, ...others } = message;
  if (typeof from !== "string") return message;
  if (from === "function_call") return { ...others, role: ROLES[from], tool_calls: callsIn(content, fail) };
  // Tables of mixed samples have null for "role" and "content" here.
  return { ...others, role: Object.hasOwn(ROLES, from) ? ROLES[from] : from, content };
}

/** LLaMA-Factory writes a call, or a list of them, as JSON text: `{"name": …, "arguments": …}`. */
function callsIn(value: unknown, fail: Fail): readonly unknown[] {
  let calls: unknown = value;
  try {
    if (typeof value === "string") calls = JSON.parse(value);
  } catch {
    // What it is instead is said below.
  }
  const list = Array.isArray(calls) ? calls : [calls];
  const isCall = (call: unknown) => isObject(call) && typeof call["name"] === "string";
  if (list.length > 0 && list.every(isCall)) return list.map((call: unknown) => ({ type: "function", function: call }));
  return fail(', a function_call: "value" is not JSON of the form {"name": …, "arguments": …}');
}

/** Reads ShareGPT's `conversations`. @param system the record's own system message */
export function readShareGpt(value: unknown, system: string | undefined, fail: Fail): readonly TrainingMessage[] {
  const messages = readMessages(value, fail, SHAREGPT);
  return system === undefined || system === "" ? messages : [{ role: "system", content: system }, ...messages];
}

function readMessage(fields: Readonly<Record<string, unknown>>, fail: Fail, names: Names): TrainingMessage {
  const { weight, function_call: call, ...message } = fields;
  const { role, content, tool_calls: calls } = message;
  if (typeof role !== "string") {
    return fail(` has no ${names.role}; its fields are ${list(Object.keys(fields).map(quote))}`);
  }
  if (isGiven(call)) {
    return fail(': "function_call" is not supported', 'write it as "tool_calls", and its result as role "tool"');
  }
  if (Object.values({ ...message, role: undefined }).every((value) => !isGiven(value))) {
    return fail(` has no ${names.content}`, "leave the message out, or give it a text");
  }
  // Keys stay in their order: a template may write a message as JSON.
  return {
    ...message,
    role,
    ...(isGiven(content) ? { content: readContent(content, fail, names) } : {}),
    ...(isGiven(calls) ? readToolCalls(calls, content, fail) : {}),
    ...(isGiven(weight) ? readWeight(weight, fail) : {}),
  };
}

/** Parts of text become one text, as in a request to the server; other parts cannot be trained on. */
function readContent(content: unknown, fail: Fail, names: Names): string {
  const name = quote(names.content);
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return fail(`: ${name} is ${describe(content)}, not a text`);
  return joinTextParts(content, (i, problem) =>
    fail(`: part ${i + 1} of ${name}: ${problem}`, "give each message as a text, or in parts of type text only"),
  );
}

/**
 * OpenAI writes arguments as JSON text, and null for the content beside calls; templates want the object and a text, which
 * mlx-lm gives them, too.
 */
function readToolCalls(calls: unknown, content: unknown, fail: Fail): Readonly<Record<string, unknown>> {
  if (!Array.isArray(calls)) return fail(`: "tool_calls" is ${describe(calls)}, not a list`);
  const read = calls.map((call: unknown, i) => {
    if (!isObject(call)) return fail(`: tool call ${i + 1} is ${describe(call)}, not an object`);
    const target = isObject(call["function"]) ? call["function"] : call;
    if (typeof target["arguments"] !== "string") return call;
    const parsed = { ...target, arguments: parseArguments(target["arguments"]) };
    if (!isObject(parsed.arguments)) {
      return fail(`: tool call ${i + 1}: "arguments" is a text that is not a JSON object`);
    }
    return target === call ? parsed : { ...call, function: parsed };
  });
  return { tool_calls: read, ...(read.length > 0 && !isGiven(content) ? { content: "" } : {}) };
}

/** An empty text is what some APIs write for a call without arguments. */
function parseArguments(text: string): unknown {
  try {
    return text.trim() === "" ? {} : JSON.parse(text);
  } catch {
    return undefined;
  }
}

function readWeight(weight: unknown, fail: Fail): { readonly weight: 0 | 1 } {
  if (weight === 0 || weight === 1) return { weight };
  return fail(
    `: "weight" is ${typeof weight === "number" ? weight : describe(weight)}, not 0 or 1`,
    "0 keeps an assistant's message out of the loss, 1 (the default) trains on it",
  );
}

/** Tables write null where a field is missing. */
function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function describe(value: unknown): string {
  if (value === null || value === undefined) return "missing";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** At most a line's worth of names. */
export function list(names: readonly string[]): string {
  return names.length <= 12 ? names.join(", ") : `${names.slice(0, 12).join(", ")} and ${names.length - 12} more`;
}

/**
 * Content in OpenAI's parts as one text, a line each, as llama.cpp and vLLM join them: most chat templates know nothing else.
 * @param fail throws what is wrong with a part, by its index
 */
export function joinTextParts(parts: readonly unknown[], fail: (index: number, problem: string) => never): string {
  const texts = parts.map((part, index) => {
    const fields: Readonly<Record<string, unknown>> = typeof part === "object" && part !== null ? { ...part } : {};
    const { type, text } = fields;
    if (typeof type !== "string") return fail(index, "not an object with type and text");
    if (type !== "text") return fail(index, `${type.slice(0, 40)}: only text is supported`);
    return typeof text === "string" ? text : fail(index, "a part of type text has a text");
  });
  return texts.join("\n");
}
