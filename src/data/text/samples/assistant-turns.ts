import { RandloraError } from "../../../files/errors.ts";
import type { ChatMessage, ChatTemplate } from "../chat-template.ts";
import { SILENT } from "../harmony.ts";
import { type Span, unusedCharacters } from "../template/marks.ts";
import { endOfTurn } from "../stop.ts";
import type { AddedToken } from "../tokenizer/added-tokens.ts";
import type { TrainingMessage } from "./messages.ts";
import { callsTools, hasReasoning, turnsByHeaders } from "./turn-headers.ts";

/** A conversation as text, and where the assistant's turns are in it. */
export interface RenderedTurns {
  readonly text: string;
  /** The turns that are trained on: in order, disjoint; UTF-16 units. */
  readonly spans: readonly Span[];
  /** The turns of weight 0, likewise. */
  readonly unweighted: readonly Span[];
}

interface Conversation {
  readonly messages: readonly TrainingMessage[];
  readonly tools?: readonly unknown[];
}

/**
 * Finds the assistant's turns in a rendered conversation: from behind the header to the end-of-turn token, which belongs
 * to the turn; a newline after it does not. Reasoning does: models write it.
 *
 * Where the template has `{% generation %}`, its spans are taken. Otherwise the conversation is rendered with marks around
 * the contents, which shows where they are, if only the marks changed. Else, and with calls or reasoning, turns are found
 * by their headers, or one by one by what another content, or the conversation up to them, is rendered as.
 */
export class AssistantTurns {
  readonly #template: ChatTemplate;
  /** What asks for an assistant's turn, such as `<|im_start|>assistant\n`; empty where the template has none. */
  readonly #header: string;
  /** Text of the token that ends such a turn; undefined where the template writes none. */
  readonly #end: string | undefined;
  readonly #special: readonly string[];
  readonly #now: Date;

  /**
   * @param addedTokens the tokenizer's: one of them ends a turn
   * @param now what a template that writes the date is told
   * @param tools those of a conversation: a template may fail without any
   */
  constructor(template: ChatTemplate, addedTokens: readonly AddedToken[], now: Date, tools?: readonly unknown[]) {
    this.#template = template;
    this.#now = now;
    this.#special = addedTokens.filter(({ special }) => special).map(({ content }) => content);
    const question = { messages: [{ role: "user", content: "a" }], ...(tools && { tools }) };
    const asked = attempt(() => this.#write(question));
    const prompted = attempt(() => this.#write(question, true));
    this.#header = asked !== undefined && prompted?.startsWith(asked) === true ? prompted.slice(asked.length) : "";
    this.#end = endOfTurn(template, addedTokens, { now, tools })?.content;
  }

  /**
   * @throws {RandloraError} what the template throws when it refuses the messages; `data` when a turn cannot be found in
   *   what it rendered, or it writes no calls of tools
   */
  render({ messages: given, ...rest }: Conversation): RenderedTurns {
    const weighted = this.#template.arranged(given);
    const messages = weighted.map((message): ChatMessage => ({ ...message, weight: undefined }));
    const conversation = { ...rest, messages };
    const { text, generated } = this.#template.render({ ...conversation, now: this.#now });
    this.#checkToolCalls(conversation, text);
    const weights = weighted.filter(({ role }) => role === "assistant").map(({ weight }) => (weight === 0 ? 0 : 1));
    const turns = generated ?? this.#locateTurns(conversation, text);
    if (turns.length !== weights.length && weights.includes(0)) {
      const counts = `${turns.length} parts in {% generation %} of ${weights.length} assistant messages`;
      throw new RandloraError(
        "data",
        `the chat template puts ${counts}: it cannot be told which of them have weight 0`,
        'leave out "weight", or the messages after the last one that is trained on',
      );
    }
    const of = (weight: 0 | 1) => turns.filter(({ start, end }, i) => end > start && (weights[i] ?? 1) === weight);
    return { text, spans: of(1), unweighted: of(0) };
  }

  /** A template that does not know tool calls leaves them out, and an empty answer would be trained on. */
  #checkToolCalls(conversation: Conversation, text: string): void {
    const { messages } = conversation;
    const at = messages.findIndex(callsTools);
    if (at < 0) return;
    const without = messages.map((message) => ({ ...message, tool_calls: undefined }));
    if (attempt(() => this.#write({ ...conversation, messages: without })) !== text) return;
    throw new RandloraError(
      "data",
      `message ${at + 1} calls tools, and the model's chat template writes no tool calls`,
      "take a model whose chat template does, or write the calls into the content as a text",
    );
  }

  /** One for each assistant's message, empty where the template leaves nothing of it. */
  #locateTurns(conversation: Conversation, text: string): readonly Span[] {
    const { messages } = conversation;
    const isPlain = !messages.some((message) => callsTools(message) || hasReasoning(message));
    let marked = isPlain ? this.#locateAll(conversation, text) : undefined;
    if (marked === undefined) {
      const found = turnsByHeaders({ messages, text, header: this.#header, end: this.#end, special: this.#special });
      if (found !== undefined) return found;
      if (!isPlain) marked = this.#locateAll(conversation, text);
    }
    const spans: Span[] = [];
    for (const [i, message] of messages.entries()) {
      if (message.role !== "assistant") continue;
      const from = spans.at(-1)?.end ?? 0;
      const isCall = !hasText(message) || callsTools(message);
      const between = isCall || hasReasoning(message) ? this.#locateBetween(conversation, i, text) : undefined;
      const whole = isCall ? between : undefined;
      const content = whole ?? marked?.get(i) ?? this.#locateOne(conversation, i, text);
      const found = whole ?? (content && this.#extend(content, message, text, from));
      // Reasoning may have a header of its own.
      const span = found && { ...found, start: Math.min(found.start, between?.start ?? found.start) };
      if (span === undefined) {
        throw new RandloraError(
          "data",
          `message ${i + 1}, the assistant's, cannot be found in what the chat template makes of the conversation`,
          "put {% generation %} and {% endgeneration %} around what the assistant says in the template",
        );
      }
      // What an empty one says of its place does not hold the next one.
      spans.push(
        span.end > span.start ? { start: Math.max(span.start, from), end: span.end } : { start: from, end: from },
      );
    }
    return spans;
  }

  #write(conversation: Conversation, addGenerationPrompt = false): string {
    return this.#template.render({ ...conversation, addGenerationPrompt, now: this.#now }).text;
  }

  /**
   * Contents of all turns with a text at once, by message; undefined where marks changed what was rendered. First with
   * the white space around a content, then, for templates that trim it, without.
   */
  #locateAll(conversation: Conversation, text: string): ReadonlyMap<number, Span> | undefined {
    const marks = unusedCharacters(this.#template.source + JSON.stringify(conversation.messages));
    const splitter = new RegExp(`[${marks.start}${marks.end}]`);
    const around = (content: string) => marks.start + content + marks.end;
    const inside = (content: string) => {
      const core = content.trim();
      const at = content.indexOf(core);
      return content.slice(0, at) + around(core) + content.slice(at + core.length);
    };
    return (
      this.#locateMarked(conversation, text, around, splitter) ??
      this.#locateMarked(conversation, text, inside, splitter)
    );
  }

  #locateMarked(
    { messages, ...rest }: Conversation,
    text: string,
    mark: (content: string) => string,
    marks: RegExp,
  ): ReadonlyMap<number, Span> | undefined {
    const marked = messages.map((message) =>
      message.role === "assistant" && hasText(message) ? { ...message, content: mark(message.content) } : message,
    );
    const rendered = attempt(() => this.#write({ ...rest, messages: marked }));
    const parts = rendered?.split(marks) ?? [];
    const numbers = [...messages.keys()].filter((i) => marked[i] !== messages[i]);
    if (parts.join("") !== text || parts.length !== 2 * numbers.length + 1) return undefined;
    const found = new Map<number, Span>();
    let at = 0;
    for (const [k, i] of numbers.entries()) {
      const start = at + (parts[2 * k] ?? "").length;
      at = start + (parts[2 * k + 1] ?? "").length;
      found.set(i, { start, end: at });
    }
    return found;
  }

  /** One turn's content: what differs when it is replaced. */
  #locateOne({ messages, ...rest }: Conversation, i: number, text: string): Span | undefined {
    const { start: mark } = unusedCharacters(this.#template.source + JSON.stringify(messages));
    const changed = messages.map((message, k) => (k === i ? { ...message, content: mark } : message));
    const rendered = attempt(() => this.#write({ ...rest, messages: changed }));
    const [head, tail, ...more] = rendered?.split(mark) ?? [];
    if (head === undefined || tail === undefined || more.length > 0) return undefined;
    let start = 0;
    while (start < head.length && head[start] === text[start]) start++;
    const most = Math.min(tail.length, text.length - start);
    let after = 0;
    while (after < most && tail[tail.length - 1 - after] === text[text.length - 1 - after]) after++;
    return { start, end: text.length - after };
  }

  /** A turn from the texts of the conversation before it and including it, where both begin the whole text. */
  #locateBetween(conversation: Conversation, i: number, text: string): Span | undefined {
    if (this.#header === "") return undefined;
    return this.#locatePart(conversation, i, text) ?? this.#locatePart(withCallsAlone(conversation), i, text);
  }

  #locatePart({ messages, ...rest }: Conversation, i: number, text: string): Span | undefined {
    const before = attempt(() => this.#write({ ...rest, messages: messages.slice(0, i) }, true));
    const including = attempt(() => this.#write({ ...rest, messages: messages.slice(0, i + 1) }));
    if (before === undefined || including === undefined) return undefined;
    if (!text.startsWith(before) || !text.startsWith(including) || including.length < before.length) return undefined;
    return { start: before.length, end: Math.max(including.trimEnd().length, before.length) };
  }

  /** From a content to its turn: back to behind the header, on over the end-of-turn token. */
  #extend({ start, end }: Span, message: ChatMessage, text: string, from: number): Span {
    const { length } = this.#header;
    const header = length === 0 || length > start ? -1 : text.lastIndexOf(this.#header, start - length);
    const first = header < from ? start : header + length;
    if (this.#end === undefined) return { start: first, end };
    const behind = text.slice(end);
    const space = behind.length - behind.trimStart().length;
    // Behind calls of tools the turn ends where it does behind a content.
    const at = callsTools(message) ? behind.indexOf(this.#end) : behind.startsWith(this.#end, space) ? space : -1;
    return { start: first, end: at < 0 ? end : end + at + this.#end.length };
  }
}

type TextMessage = ChatMessage & { readonly content: string };

function hasText(message: ChatMessage): message is TextMessage {
  return typeof message.content === "string" && message.content.trim() !== "";
}

/** Where an answer comes later a template may leave out what was thought before calls; a part of the conversation does not show it. */
function withCallsAlone({ messages, ...rest }: Conversation): Conversation {
  return { ...rest, messages: messages.map((message) => (callsTools(message) ? { ...message, ...SILENT } : message)) };
}

/** What a template makes of messages that it may refuse. */
function attempt(render: () => string): string | undefined {
  try {
    return render();
  } catch (error) {
    if (error instanceof RandloraError) return undefined;
    throw error;
  }
}
