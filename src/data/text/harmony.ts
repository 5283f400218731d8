import type { Tokenizer } from "./tokenizer.ts";

/** The special tokens of the harmony format, which gpt-oss writes and its chat template shows. */
export const HARMONY = {
  start: "<|start|>",
  channel: "<|channel|>",
  constrain: "<|constrain|>",
  message: "<|message|>",
  end: "<|end|>",
  call: "<|call|>",
  return: "<|return|>",
} as const;

/** Their order says what stands for them. */
export const HARMONY_MARKS: readonly string[] = Object.values(HARMONY);

/**
 * In the text of an answer a special token of the format is one half of a surrogate pair: no text that was decoded has any, so nothing
 * that is only spelled like a mark is taken for one.
 */
const FIRST_MARK = 0xdc00;
/** Any of them, in texts whose pairs are whole. */
export const MARK = /((?<![\ud800-\udbff])[\udc00-\udc06])/;

/** What stands in an answer's text for a special token of the format. */
export function markOf(token: string): string {
  return String.fromCharCode(FIRST_MARK + HARMONY_MARKS.indexOf(token));
}

/** Any special token of the format, as it is spelled. */
export const SPELLED = new RegExp(HARMONY_MARKS.map((token) => RegExp.escape(token)).join("|"), "g");

/** A text in which marks stand for the tokens that it spells. */
export function withMarks(text: string): string {
  return text.replaceAll(SPELLED, markOf);
}

/** Does a chat template show the harmony format? @param template its source */
export function isHarmony(template: string): boolean {
  return template.includes(HARMONY.channel) && template.includes(HARMONY.message);
}

/** Does a model write it? A tokenizer without the tokens cannot: what it makes of them is text. */
export function writesHarmony(template: string, tokenizer: Pick<Tokenizer, "tokenToId">): boolean {
  return isHarmony(template) && HARMONY_MARKS.every((token) => tokenizer.tokenToId(token) !== undefined);
}

/** Names that a message's reasoning goes by; templates read the first, gpt-oss's the second. */
export const REASONING = ["reasoning_content", "thinking", "reasoning"] as const;

interface Message {
  readonly role: string;
  readonly [key: string]: unknown;
}

/**
 * Messages as gpt-oss's chat template takes them. Of an assistant's message it writes the first call alone, it names a tool's result by
 * the last call, and refuses a message that calls and has both a text and reasoning: so each call becomes a message of its own with its
 * result behind it, and a text beside reasoning becomes a part of that, which is what the template makes of either.
 */
export function harmonyMessages(messages: readonly Message[]): Message[] {
  const arranged: Message[] = [];
  const waiting = messages.toReversed();
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { tool_calls: calls, ...message } = next;
    if (!Array.isArray(calls) || calls.length === 0) {
      // An empty list would be taken for a call.
      arranged.push(message);
      continue;
    }
    const results: Message[] = [];
    for (let last = waiting.at(-1); last?.role === "tool"; last = waiting.at(-1)) {
      results.push(last);
      waiting.pop();
    }
    // Of calls with the same id the first one has what came of it.
    const numbers = new Map(calls.map((call: unknown, at) => [field(call, "id"), at] as const).toReversed());
    const owned = Map.groupBy(results, ({ tool_call_id: id }, index) => {
      // Tables have null for ids that are not there.
      const owner = typeof id === "string" ? numbers.get(id) : undefined;
      return owner ?? Math.min(index, calls.length - 1);
    });
    for (const [index, call] of calls.entries()) {
      const said = index === 0 ? thoughtOf(message) : { ...message, ...SILENT };
      arranged.push({ ...said, tool_calls: [call] });
      for (const result of owned.get(index) ?? []) arranged.push(result);
    }
  }
  return arranged;
}

/** What makes a message say and think nothing. */
export const SILENT = { content: "", ...Object.fromEntries(REASONING.map((name) => [name, undefined])) };

/** What there is beside a message's calls: a text or reasoning. */
function thoughtOf(message: Message): Message {
  const name = REASONING.find((key) => isText(message[key]));
  if (name === undefined || !isText(message["content"])) return message;
  return { ...message, ...SILENT, [name]: `${String(message[name])}\n${message["content"]}` };
}

/** Tools as gpt-oss's chat template takes them: each with a description, be it empty. */
export function harmonyTools(tools: readonly unknown[]): unknown[] {
  return tools.map((tool) => {
    const called: unknown = field(tool, "function");
    if (typeof tool !== "object" || typeof called !== "object" || called === null) return tool;
    return { ...tool, function: { ...called, description: field(called, "description") ?? "" } };
  });
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}
