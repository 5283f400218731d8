import * as v from "valibot";
import { joinTextParts } from "../../data/text/samples/messages.ts";
import { badField, renaming } from "./api-error.ts";
import { type ChatRequest, readChatRequest, ROLES } from "./chat-request.ts";
import { readFields, type RequestDefaults } from "./fields.ts";
import { CONTENT, IGNORED, nested, optional } from "./schemas.ts";

const FunctionCall = nested({
  type: v.literal("function_call"),
  id: IGNORED,
  call_id: v.string(),
  name: v.string(),
  arguments: v.string(),
  // What OpenAI's client adds to an answer.
  parsed_arguments: IGNORED,
  status: IGNORED,
});
const Output = nested({
  type: v.literal("function_call_output"),
  id: IGNORED,
  call_id: v.string(),
  output: CONTENT,
  status: IGNORED,
});
const Reasoning = v.looseObject({ type: v.literal("reasoning"), content: optional(CONTENT) });
const Message = nested({
  type: optional(v.literal("message", "must be a message, a function_call, a function_call_output or a reasoning")),
  id: IGNORED,
  role: v.picklist(ROLES),
  content: CONTENT,
  status: IGNORED,
});

const Item = v.lazy((item) => {
  const type = typeof item === "object" && item !== null && "type" in item ? item.type : undefined;
  return [FunctionCall, Output, Reasoning].find(({ entries }) => entries.type.literal === type) ?? Message;
});

const Items = v.array(Item);
const StringOrItems = v.union([v.string(), Items]);

const Tool = v.looseObject({ type: v.string(), name: optional(v.string()) });
const NamedTool = nested({ type: v.string(), name: optional(v.string()) });

const Body = v.looseObject({
  input: v.lazy((input) => (Array.isArray(input) ? Items : StringOrItems)),
  instructions: optional(v.string()),
  max_output_tokens: optional(v.number()),
  text: optional(
    nested({ format: optional(v.looseObject({ type: v.string() })), verbosity: optional(v.literal("medium")) }),
  ),
  tools: optional(v.array(Tool)),
  tool_choice: optional(v.lazy((choice) => (typeof choice === "string" ? v.string() : NamedTool))),
  // As in a chat, and checked there.
  model: v.unknown(),
  stream: v.unknown(),
  temperature: v.unknown(),
  top_p: v.unknown(),
  top_k: v.unknown(),
  min_p: v.unknown(),
  seed: v.unknown(),
  user: v.unknown(),
  parallel_tool_calls: v.unknown(),
  chat_template_kwargs: v.unknown(),
  // What nothing is done for without being asked to.
  // Reasoning is in the answer, and nothing of it is encrypted.
  include: optional(v.array(v.literal("reasoning.encrypted_content"))),
  // Nothing makes summaries, which "auto" leaves to us.
  reasoning: optional(nested({ effort: v.optional(v.unknown()), summary: optional(v.literal("auto")) })),
  stream_options: optional(nested({ include_obfuscation: IGNORED })),
  top_logprobs: optional(v.literal(0)),
  // What is too long is refused either way.
  truncation: optional(v.picklist(["disabled", "auto"])),
  background: optional(v.literal(false)),
});

/**
 * What `/v1/responses` is asked for, as a request for a chat. Nothing is stored: a request has all of its conversation.
 * @throws ApiError 400 naming the field that is malformed, or asks for what cannot be done
 */
export function readResponseRequest(body: unknown, defaults: RequestDefaults): ChatRequest {
  const fields = readFields(v.partial(Body, OPEN), body);
  const { input, instructions, text, tools, tool_choice: choice, max_output_tokens: length, reasoning } = fields;
  const asked = typeof input === "string" ? [{ role: "user", content: input }] : messagesOf(input);
  const system = instructions === undefined ? [] : [{ role: "system", content: instructions }];
  const common = Object.fromEntries(OPEN.map((name) => [name, fields[name]]));
  // What others would run, OpenAI's search or a namespace of Codex's, nobody here does: the model is not told of it.
  const functions = tools?.flatMap((tool, index) => (tool.type === "function" ? [{ tool, index }] : []));
  const chat = {
    ...common,
    messages: [...system, ...asked],
    max_tokens: length,
    reasoning_effort: reasoning?.effort,
    tools: functions?.map(({ tool: { type, ...definition } }) => ({ type, function: definition })),
    tool_choice: typeof choice === "object" ? { type: choice.type, function: { name: choice.name ?? "" } } : choice,
    response_format: formatOf(text?.format),
  };
  const nameOf = (field: string): string =>
    nameInResponses(field).replace(/^tools\.(\d+)/, (_, at: string) => `tools.${functions?.[Number(at)]?.index}`);
  const request = renaming(nameOf, () => readChatRequest(chat, defaults));
  const said = saidAgain({ ...fields, tools: functions?.map(({ tool }) => tool) });
  return { ...request, settings: { ...request.settings, said } };
}

/** What this API calls a field of a chat. */
export function nameInResponses(field: string): string {
  return field
    .replace(/^reasoning_effort$/, "reasoning.effort")
    .replace(/^max_tokens$/, "max_output_tokens")
    .replace(/^response_format(?:\.json_schema)?/, "text.format")
    .replace(/^(tools\.\d+|tool_choice)\.function/, "$1")
    .replace(/^messages.*/, "input");
}

const OPEN = [
  "model",
  "stream",
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "seed",
  "user",
  "parallel_tool_calls",
  "chat_template_kwargs",
] as const;

function formatOf(format: Readonly<Record<string, unknown>> | undefined): object | undefined {
  if (format?.["type"] !== "json_schema") return format;
  const { type, ...definition } = format;
  return { type, json_schema: definition };
}

/** What a response repeats of its request, with OpenAI's values where that says nothing. */
function saidAgain(fields: Partial<v.InferOutput<typeof Body>>): Readonly<Record<string, unknown>> {
  return {
    instructions: fields.instructions ?? null,
    max_output_tokens: fields.max_output_tokens ?? null,
    parallel_tool_calls: fields.parallel_tool_calls ?? true,
    reasoning: { effort: fields.reasoning?.effort ?? null, summary: null },
    tool_choice: fields.tool_choice ?? "auto",
    tools: fields.tools?.map((tool) => ({ strict: false, parameters: null, ...tool })) ?? [],
  };
}

/**
 * Calls that follow each other are one message of the assistant; reasoning belongs to the message behind it, be it between calls. What came of
 * a call stands behind its message, as templates want it.
 */
function messagesOf(items: readonly v.InferOutput<typeof Item>[]): object[] {
  const turns: object[][] = [];
  const turnOfCall = new Map<string, object[]>();
  let calls: object[] | undefined;
  let thoughts: string[] = [];
  for (const [index, item] of items.entries()) {
    const where = `input.${index}`;
    if (item.type === "reasoning") {
      const text = textOf(item.content ?? "", `${where}.content`);
      if (text === "") continue;
      thoughts.push(text);
      calls = undefined;
      continue;
    }
    const before = thoughts.length === 0 ? {} : { reasoning_content: thoughts.join("\n\n") };
    thoughts = [];
    if (item.type === "function_call") {
      if (calls === undefined) turns.push([{ role: "assistant", content: "", ...before, tool_calls: (calls = []) }]);
      calls.push({ id: item.call_id, type: "function", function: { name: item.name, arguments: item.arguments } });
      turnOfCall.set(item.call_id, turns.at(-1) ?? []);
      continue;
    }
    calls = undefined;
    if (item.type === "function_call_output") {
      const result = { role: "tool", tool_call_id: item.call_id, content: textOf(item.output, `${where}.output`) };
      const turn = turnOfCall.get(item.call_id);
      if (turn === undefined) turns.push([result]);
      else turn.push(result);
    } else {
      const own = item.role === "assistant" ? before : {};
      turns.push([{ role: item.role, content: textOf(item.content, `${where}.content`), ...own }]);
    }
  }
  return turns.flat();
}

/** The text of parts, each of a kind of text. @param where they stand */
function textOf(content: v.InferOutput<typeof CONTENT>, where: string): string {
  if (typeof content === "string") return content;
  const parts = content.map((part) => ({
    ...part,
    type: part.type.replace(/^(?:in|out)put_text$|^reasoning_text$/, "text"),
  }));
  return joinTextParts(parts, (index, problem) => {
    throw badField(`${where}.${index}`, problem);
  });
}
