import * as v from "valibot";
import type { CallableTools } from "../tools/answer-format.ts";
import type { Tool } from "../tools/grammar.ts";
import { nestsDeeper } from "../../files/json.ts";
import { badField } from "./api-error.ts";
import { MAX_BODY_DEPTH } from "./body.ts";
import { IGNORED, nested, optional } from "./schemas.ts";

/** Of one request. */
const MOST_TOOLS = 128;
const NAME = v.pipe(v.string(), v.regex(/^[\w.-]{1,64}$/, "must be 1 to 64 letters, digits, _, . or -"));

const FunctionTool = nested({
  type: v.literal("function"),
  function: nested({
    name: NAME,
    description: optional(v.string()),
    parameters: optional(v.record(v.string(), v.unknown())),
    strict: optional(v.boolean()),
  }),
});

const ToolChoice = v.picklist(["none", "auto", "required"]);
const NamedTool = nested({ type: v.literal("function"), function: nested({ name: v.string() }) });

/** Fields of a request that may call tools. */
export const TOOL_FIELDS = {
  tools: optional(v.pipe(v.array(FunctionTool), v.maxLength(MOST_TOOLS))),
  tool_choice: optional(v.lazy((choice) => (typeof choice === "object" ? NamedTool : ToolChoice))),
  parallel_tool_calls: optional(v.boolean()),
} as const;

type ToolFields = v.InferOutput<v.ObjectSchema<typeof TOOL_FIELDS, undefined>>;

/** What a request says of tools. */
export interface ToolRequest extends CallableTools {
  /** As templates take them. */
  readonly tools: readonly object[];
}

/** @returns undefined: no tools may be called. @throws ApiError 400 */
export function readTools(fields: ToolFields): ToolRequest | undefined {
  const { tools = [], tool_choice: choice = "auto", parallel_tool_calls: several = true } = fields;
  const all = tools.map(({ function: { name, parameters, strict = false } }): Tool => ({ name, parameters, strict }));
  const names = all.map(({ name }) => name);
  const twice = names.findIndex((name, index) => names.indexOf(name) !== index);
  if (twice >= 0) throw badField(`tools.${twice}.function.name`, `${names[twice] ?? ""} is there already`);
  if (typeof choice === "string") {
    if (choice === "required" && all.length === 0) throw badField("tool_choice", "there are no tools");
    if (choice === "none" || all.length === 0) return undefined;
    return { tools, callable: all, isRequired: choice === "required", several };
  }
  const chosen = all.filter(({ name }) => name === choice.function.name);
  if (chosen.length === 0) throw badField("tool_choice", "names a function that is not among the tools");
  return { tools, callable: chosen, isRequired: true, several: false };
}

const ToolCall = nested({
  id: optional(v.string()),
  type: optional(v.literal("function")),
  index: IGNORED,
  function: nested({
    name: v.string(),
    arguments: v.union([v.string(), v.record(v.string(), v.unknown())]),
    // What OpenAI's client, and Ollama, add to an answer.
    parsed_arguments: IGNORED,
    index: IGNORED,
  }),
});

/** Of a message of the conversation: the calls that the assistant made. Templates take arguments as objects. */
export const TOOL_CALLS = v.pipe(
  v.array(ToolCall),
  v.maxLength(MOST_TOOLS),
  v.transform((calls) =>
    calls.map((call) => ({
      ...call,
      type: "function" as const,
      function: { ...call.function, arguments: parsed(call.function.arguments) },
    })),
  ),
);

function parsed(value: unknown): unknown {
  if (typeof value !== "string") return value;
  if (nestsDeeper(value, MAX_BODY_DEPTH)) {
    throw badField("messages.tool_calls.function.arguments", `is nested more than ${MAX_BODY_DEPTH} deep`);
  }
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
