import * as v from "valibot";
import type { ChatMessage } from "../../data/text/chat-template.ts";
import { joinTextParts } from "../../data/text/samples/messages.ts";
import { badField } from "./api-error.ts";
import {
  COMMON_FIELDS,
  type GenerationRequest,
  generationRequest,
  LOGPROBS_COUNT,
  noList,
  readFields,
  type RequestDefaults,
} from "./fields.ts";
import { CONTENT, IGNORED, nested, optional } from "./schemas.ts";
import type { CallableTools } from "../tools/answer-format.ts";
import type { Tool } from "../tools/grammar.ts";
import { nestsDeeper } from "../../files/json.ts";
import { MAX_BODY_DEPTH } from "./body.ts";

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
const TOOL_FIELDS = {
  tools: optional(v.pipe(v.array(FunctionTool), v.maxLength(MOST_TOOLS))),
  tool_choice: optional(v.lazy((choice) => (typeof choice === "object" ? NamedTool : ToolChoice))),
  parallel_tool_calls: optional(v.boolean()),
} as const;

type ToolFields = v.InferOutput<v.ObjectSchema<typeof TOOL_FIELDS, undefined>>;

/** What a request says of tools. */
interface ToolRequest extends CallableTools {
  /** As templates take them. */
  readonly tools: readonly object[];
}

/** @returns undefined: no tools may be called. @throws ApiError 400 */
function readTools(fields: ToolFields): ToolRequest | undefined {
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
const TOOL_CALLS = v.pipe(
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

/** What `/v1/chat/completions` is asked for. */
export interface ChatRequest extends GenerationRequest {
  /** None: no answer is wanted. */
  readonly messages: readonly ChatMessage[];
  /** llama.cpp's and vLLM's `chat_template_kwargs`. */
  readonly templateVariables: Readonly<Record<string, unknown>>;
  /** Tools that may be called; undefined: none. */
  readonly tools: ToolRequest | undefined;
  /** vLLM's `continue_final_message`: the answer goes on with the last message, which is the assistant's. */
  readonly continues: boolean;
  /** How much the model is to think; undefined: as the template has it. One whose template knows no levels is refused. */
  readonly effort?: string | undefined;
  /** Ollama's `think`: a model whose template knows no thinking is refused. */
  readonly mustThink?: boolean;
}

export const ROLES = ["system", "developer", "user", "assistant", "tool"] as const;
/** Of one conversation: far more than a context holds, and little work for a template. */
const MOST_MESSAGES = 10_000;

const Message = nested({
  role: v.picklist(ROLES),
  content: optional(CONTENT),
  name: optional(v.string()),
  tool_calls: optional(TOOL_CALLS),
  tool_call_id: optional(v.string()),
  // Whichever the template knows.
  reasoning_content: optional(v.string()),
  reasoning: optional(v.string()),
  thinking: optional(v.string()),
  annotations: IGNORED,
  parsed: IGNORED,
});

const Body = v.looseObject({
  ...COMMON_FIELDS,
  messages: v.pipe(v.array(v.unknown()), v.nonEmpty("there is none"), v.maxLength(MOST_MESSAGES), v.array(Message)),
  max_completion_tokens: optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
  logprobs: optional(v.boolean()),
  top_logprobs: optional(LOGPROBS_COUNT),
  ...TOOL_FIELDS,
  continue_final_message: optional(v.boolean()),
  add_generation_prompt: optional(v.boolean()),
  reasoning_effort: optional(v.picklist(["low", "medium", "high"])),
  chat_template_kwargs: optional(noList(v.record(v.string(), v.unknown()))),
});

/** Variables of a template that say what is the conversation, and what are control tokens. */
const RESERVED: ReadonlySet<string> = new Set([
  "messages",
  "tools",
  "add_generation_prompt",
  "bos_token",
  "eos_token",
  "unk_token",
  "pad_token",
  "raise_exception",
  "strftime_now",
]);

/** @throws ApiError 400 naming the field that is malformed, or asks for what cannot be done */
export function readChatRequest(body: unknown, defaults: RequestDefaults): ChatRequest {
  const fields = readFields(Body, body);
  const { logprobs, top_logprobs: top } = fields;
  if (top !== undefined && top > 0 && logprobs !== true) throw badField("top_logprobs", "needs logprobs to be true");
  const variables = fields.chat_template_kwargs ?? {};
  const reserved = Object.keys(variables).find((name) => RESERVED.has(name));
  if (reserved !== undefined) throw badField(`chat_template_kwargs.${reserved}`, "is set by the server");
  return {
    ...generationRequest(fields, logprobs === true ? (top ?? 0) : undefined, defaults),
    messages: fields.messages.map((message, index) => readMessage(message, `messages.${index}`)),
    templateVariables: variables,
    effort: fields.reasoning_effort,
    tools: readTools(fields),
    continues: readContinues(fields),
  };
}

function readContinues({
  messages,
  continue_final_message: continues = false,
  add_generation_prompt: opens = !continues,
}: v.InferOutput<typeof Body>): boolean {
  if (opens === continues) throw badField("add_generation_prompt", "must be the opposite of continue_final_message");
  if (continues && messages.at(-1)?.role !== "assistant") {
    throw badField("continue_final_message", "the last message is not the assistant's");
  }
  return continues;
}

function readMessage(message: v.InferOutput<typeof Message>, where: string): ChatMessage {
  const calls = message.tool_calls ?? [];
  if (calls.length > 0 && message.role !== "assistant")
    throw badField(`${where}.tool_calls`, "only the assistant calls");
  // OpenAI's newer name for the same thing, which templates do not know.
  const role = message.role === "developer" ? "system" : message.role;
  const { tool_calls: _, tool_call_id: id, ...rest } = message;
  const content = readContent(message.content ?? "", `${where}.content`);
  // Templates ask whether the key is there.
  const answered = id === undefined ? {} : { tool_call_id: id };
  return { ...rest, role, content, ...answered, ...(calls.length === 0 ? {} : { tool_calls: calls }) };
}

function readContent(content: string | readonly unknown[], where: string): string {
  if (typeof content === "string") return content;
  return joinTextParts(content, (index, problem) => {
    throw badField(`${where}.${index}`, problem);
  });
}
