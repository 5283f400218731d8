/** How a model writes calls of tools: what its chat template shows it. */
export interface CallFormat {
  readonly name: string;
  /** What the source of such a template holds. */
  readonly sign: RegExp;
  /** A call is JSON, or a `<function=NAME>` (function-calls.ts). */
  readonly kind: "json" | "function";
  /** Stands before a call, or before the list of them; empty: an answer that is a call has nothing else. */
  readonly open: string;
  /** Stands behind it; empty: nothing. */
  readonly close: string;
  /** All calls of an answer in one list, instead of each by itself. */
  readonly isList: boolean;
  /** What a call's arguments are called. */
  readonly argumentsKey: "arguments" | "parameters";
  /** White space around a call that is written by itself. */
  readonly padding: string;
  /** An answer may hold several calls. */
  readonly parallel: boolean;
}

/** The first whose sign is found is a template's. */
export const CALL_FORMATS: readonly CallFormat[] = [
  {
    name: "Hermes, Qwen",
    // Not where calls between the same marks are no JSON: GLM's and Hunyuan's are not known.
    sign: /^(?![\s\S]*<(?:function=|arg_key>|tool_sep>))[\s\S]*<tool_call>/,
    kind: "json",
    open: "<tool_call>",
    close: "</tool_call>",
    isList: false,
    argumentsKey: "arguments",
    padding: "\n",
    parallel: true,
  },
  {
    name: "Mistral",
    sign: /\[TOOL_CALLS\](?![\s\S]*\[ARGS\])/,
    kind: "json",
    open: "[TOOL_CALLS]",
    close: "",
    isList: true,
    argumentsKey: "arguments",
    padding: "",
    parallel: true,
  },
  {
    name: "Llama 3",
    sign: /<\|python_tag\|>|ipython/,
    kind: "json",
    open: "",
    close: "",
    isList: false,
    argumentsKey: "parameters",
    padding: "",
    parallel: false,
  },
  {
    name: "Qwen3-Coder, Qwen 3.5",
    sign: /<tool_call>\s*(?:\\n)*\s*<function=/,
    kind: "function",
    open: "<tool_call>",
    close: "</tool_call>",
    isList: false,
    argumentsKey: "arguments",
    padding: "\n",
    parallel: true,
  },
];

/** Does a chat template show a model its tools? @param template its source */
export function showsTools(template: string): boolean {
  return /\btools\b/.test(template);
}

/** @param template the source of a chat template; undefined: it knows nothing of tools, or writes calls in another way */
export function callFormatOf(template: string): CallFormat | undefined {
  return showsTools(template) ? CALL_FORMATS.find(({ sign }) => sign.test(template)) : undefined;
}

/** A call of a tool. */
export interface Call {
  readonly id: string;
  readonly name: string;
  /** JSON. */
  readonly arguments: string;
}

/** Mistral's templates take ids of nine letters and digits only. */
const ID_LENGTH = 9;
const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

export function newCallId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(ID_LENGTH));
  return Array.from(bytes, (byte) => LETTERS.charAt(byte % LETTERS.length)).join("");
}

/** The calls that a text between `open` and `close` is; undefined: it is none. */
export function readCalls(text: string, { argumentsKey, isList }: CallFormat): readonly Call[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const all: unknown[] = isList && Array.isArray(value) ? value : [value];
  const calls = all.map((one) => readCall(one, argumentsKey));
  return calls.length > 0 && calls.every((call) => call !== undefined) ? calls : undefined;
}

function readCall(value: unknown, key: CallFormat["argumentsKey"]): Call | undefined {
  if (typeof value !== "object" || value === null || !("name" in value) || typeof value.name !== "string")
    return undefined;
  const given: unknown = Reflect.get(value, key) ?? {};
  if (typeof given !== "object" && typeof given !== "string") return undefined;
  const text = typeof given === "string" ? given : JSON.stringify(given);
  return { id: newCallId(), name: value.name, arguments: text };
}
