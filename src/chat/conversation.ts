import { existsSync } from "node:fs";
import { dirname } from "node:path";
import * as v from "valibot";
import { RandloraError } from "../files/errors.ts";
import { oneLine } from "../files/failure.ts";
import { readJson } from "../files/read-whole.ts";
import { writeWhole } from "../files/whole-file.ts";
import type { ChatMessage } from "../data/text/chat-template.ts";

/** Far more than any context holds. */
const MOST_BYTES = 2 ** 28;
const HINT = 'it must hold {"messages": [{"role": "user", "content": "…"}, …]}, as /save writes it';

const Message = v.looseObject({
  role: v.pipe(v.string(), v.nonEmpty()),
  content: v.optional(v.union([v.string(), v.null(), v.array(v.unknown())])),
});
const File = v.union([
  v.pipe(
    v.looseObject({ messages: v.array(Message) }),
    v.transform(({ messages }) => messages),
  ),
  v.array(Message),
]);

/** What was said: messages in turn, an optional system message before them. Every change leaves whole turns. */
export class Conversation {
  #system: string | undefined;
  #turns: ChatMessage[] = [];

  constructor(system?: string) {
    this.system = system;
  }

  /** What the model is told to be; the empty text is none. */
  get system(): string | undefined {
    return this.#system;
  }

  set system(text: string | undefined) {
    this.#system = text === "" ? undefined : text;
  }

  /** All messages, the system's first. */
  get messages(): readonly ChatMessage[] {
    return this.#system === undefined ? this.#turns : [{ role: "system", content: this.#system }, ...this.#turns];
  }

  /** Messages besides the system's. */
  get length(): number {
    return this.#turns.length;
  }

  /** What the user said last, and has been answered or not; undefined where nothing was said. */
  get lastQuestion(): string | undefined {
    const { content } = this.#turns.findLast(({ role }) => role === "user") ?? {};
    return typeof content === "string" ? content : undefined;
  }

  /** Adds a message as it is, whatever it holds besides text. */
  add(message: ChatMessage): void {
    this.#turns.push(message);
  }

  /** Takes the last question and everything after it back. @returns the question */
  undo(): string | undefined {
    const question = this.lastQuestion;
    const at = this.#turns.findLastIndex(({ role }) => role === "user");
    if (question === undefined || at < 0) return undefined;
    this.#turns.length = at;
    return question;
  }

  /** Forgets everything but the system message. */
  reset(): void {
    this.#turns = [];
  }

  /** The conversation without its oldest question and what followed it; undefined where only one is left. */
  withoutOldest(): Conversation | undefined {
    const next = this.#turns.findIndex(({ role }, index) => index > 0 && role === "user");
    if (next < 0) return undefined;
    const shorter = new Conversation(this.#system);
    shorter.#turns = this.#turns.slice(next);
    return shorter;
  }

  /** Replaces everything by what another conversation holds. */
  replaceBy(other: Conversation): void {
    this.#system = other.#system;
    this.#turns = [...other.#turns];
  }
}

/**
 * Writes a conversation as `{"messages": […]}`: what OpenAI's API takes, and a sample to fine-tune on. Only a conversation
 * that was saved before is replaced.
 * @returns whether one was
 * @throws RandloraError `file`; what was there before is then still there
 */
export async function saveConversation(path: string, { messages }: Conversation): Promise<boolean> {
  const isThere = existsSync(path);
  if (isThere && !(await isSaved(path))) {
    const cause = `cannot write ${oneLine(path)}: it exists and is not a conversation that /save wrote`;
    throw new RandloraError("file", cause, "name another file");
  }
  if (!existsSync(dirname(path))) {
    const cause = `cannot write ${oneLine(path)}: there is no folder ${oneLine(dirname(path))}`;
    throw new RandloraError("file", cause, "name a file in a folder that exists");
  }
  await writeWhole(path, `${JSON.stringify({ messages }, null, 2)}\n`);
  return isThere;
}

/** Is it what `saveConversation` wrote, and nothing more? */
async function isSaved(path: string): Promise<boolean> {
  try {
    const json = await readJson(path, MOST_BYTES, HINT);
    return v.is(v.strictObject({ messages: v.array(Message) }), json);
  } catch {
    return false;
  }
}

/**
 * Reads what `saveConversation` wrote, or a plain list of messages.
 * @throws RandloraError `file`, `format`
 */
export async function loadConversation(path: string): Promise<Conversation> {
  const parsed = v.safeParse(File, await readJson(path, MOST_BYTES, HINT));
  if (!parsed.success) throw new RandloraError("format", `${oneLine(path)}: no list of messages`, HINT);
  const [first] = parsed.output;
  const hasSystem = first?.role === "system" && typeof first.content === "string";
  const conversation = new Conversation(hasSystem ? String(first.content) : undefined);
  for (const message of hasSystem ? parsed.output.slice(1) : parsed.output) conversation.add(message);
  return conversation;
}
