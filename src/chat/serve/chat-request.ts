import * as v from "valibot";
import type { ChatMessage } from "../../data/text/chat-template.ts";
import { joinTextParts } from "../../data/text/text-parts.ts";
import { badField } from "./api-error.ts";
import {
  COMMON_FIELDS,
  type GenerationRequest,
  generationRequest,
  LOGPROBS_COUNT,
  noList,
  optional,
  readFields,
  type RequestDefaults,
} from "./fields.ts";

/** What `/v1/chat/completions` is asked for. */
export interface ChatRequest extends GenerationRequest {
  readonly messages: readonly ChatMessage[];
  /** llama.cpp's and vLLM's `chat_template_kwargs`. */
  readonly templateVariables: Readonly<Record<string, unknown>>;
}

const ROLES = ["system", "developer", "user", "assistant"] as const;

const Message = v.looseObject({
  role: v.picklist(ROLES),
  content: optional(v.union([v.string(), v.array(v.looseObject({ type: v.string() }))])),
});

const Body = v.looseObject({
  ...COMMON_FIELDS,
  messages: v.pipe(v.array(Message), v.nonEmpty("there is none")),
  max_completion_tokens: optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
  logprobs: optional(v.boolean()),
  top_logprobs: optional(LOGPROBS_COUNT),
  chat_template_kwargs: optional(noList(v.record(v.string(), v.unknown()))),
});

/** @throws ApiError 400 naming the field that is malformed, or asks for what cannot be done */
export function readChatRequest(body: unknown, defaults: RequestDefaults): ChatRequest {
  const fields = readFields(Body, body);
  const { logprobs, top_logprobs: top } = fields;
  if (top !== undefined && logprobs !== true) throw badField("top_logprobs", "needs logprobs to be true");
  return {
    ...generationRequest(fields, logprobs === true ? (top ?? 0) : undefined, defaults),
    messages: fields.messages.map((message, index) => readMessage(message, `messages.${index}`)),
    templateVariables: fields.chat_template_kwargs ?? {},
  };
}

function readMessage(message: v.InferOutput<typeof Message>, where: string): ChatMessage {
  for (const name of ["tool_calls", "function_call", "audio"]) {
    const value = message[name];
    if (value === undefined || value === null || (Array.isArray(value) && value.length === 0)) continue;
    throw badField(`${where}.${name}`, "not supported by this server", "unsupported_parameter");
  }
  // OpenAI's newer name for the same thing, which templates do not know.
  const role = message.role === "developer" ? "system" : message.role;
  return { ...message, role, content: readContent(message.content ?? "", `${where}.content`) };
}

function readContent(content: string | readonly unknown[], where: string): string {
  if (typeof content === "string") return content;
  return joinTextParts(content, (index, problem) => {
    throw badField(`${where}.${index}`, problem);
  });
}
