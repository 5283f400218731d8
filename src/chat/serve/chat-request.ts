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
import { readTools, TOOL_CALLS, TOOL_FIELDS, type ToolRequest } from "./tool-fields.ts";

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
