import { HARMONY, MARK, markOf, withMarks } from "../../data/text/harmony.ts";
import { type Call, newCallId } from "./formats.ts";
import type { AnswerParser, Part, Span } from "./message-parser.ts";

export interface HarmonyParserOptions {
  readonly kind: "harmony";
  /** What the prompt has behind its last `<|start|>assistant`, marks written as tokens. */
  readonly begun: string;
  /** Calls are looked for; otherwise what is written to a function is content. */
  readonly readsCalls: boolean;
  /** An answer has one call at most: what follows on it is left out. */
  readonly single: boolean;
}

const START = markOf(HARMONY.start);
const CHANNEL = markOf(HARMONY.channel);
const CONSTRAIN = markOf(HARMONY.constrain);
const MESSAGE = markOf(HARMONY.message);

/** Longer ones are text: a model that was not trained on the format begins to write without one. */
const LONGEST_HEADER = 300;
/** What a header has before `<|channel|>`, behind who writes: to whom. */
const RECIPIENT = /^\s*(?:t|to|to=\S*\s*)?$/;
const OURS = "assistant";

interface Message {
  readonly kind: "content" | "reasoning" | "call";
  /** Of the function that is called. */
  readonly name: string;
  /** Of a call. */
  text: string;
  isBegun: boolean;
}

/**
 * Takes an answer in the harmony format apart: messages, each with a header that says who writes (else the assistant), to whom, and on
 * which channel. As vLLM and llama.cpp have it, `analysis` is reasoning, `final` is content and so are `commentary` and whatever else
 * is written to nobody; what is written to a function is a call. What others write, and what is written to others, is reasoning.
 * Whatever order marks come in, none is shown.
 */
export class HarmonyParser implements AnswerParser {
  readonly #options: HarmonyParserOptions;
  /** Of a header: who writes, and to whom; undefined: within a message. */
  #header: string | undefined = "";
  /** What it has behind `<|channel|>`. */
  #channel: string | undefined;
  /** It surely is one. */
  #isMarked = false;
  #message: Message | undefined;
  #said: { content: string; reasoning: string; calls: Call[] } = { content: "", reasoning: "", calls: [] };
  #thoughts: Span[] = [];
  /** Where in the text the mark or text that is read begins, and where it ends. */
  #from = 0;
  #to = 0;
  /** What there was of each before: messages of one kind are lines. */
  readonly #has = { content: false, reasoning: false, call: false };

  constructor(options: HarmonyParserOptions) {
    this.#options = options;
    this.push(withMarks(options.begun));
    this.#to = 0;
    this.#thoughts = this.#message?.kind === "reasoning" ? [{ from: 0, to: Infinity }] : [];
  }

  get thoughts(): readonly Span[] {
    return this.#thoughts;
  }

  push(text: string): Part {
    for (const [at, piece] of text.split(MARK).entries()) {
      [this.#from, this.#to] = [this.#to, this.#to + piece.length];
      if (at % 2 === 1) this.#mark(piece);
      else if (piece !== "") this.#text(piece);
    }
    return this.#take();
  }

  end(): Part {
    this.#from = this.#to;
    this.#close();
    return this.#take();
  }

  #take(): Part {
    const said = this.#said;
    this.#said = { content: "", reasoning: "", calls: [] };
    return said;
  }

  #mark(mark: string): void {
    this.#endWord();
    const header = this.#header;
    switch (mark) {
      case START:
        this.#close();
        this.#isMarked = true;
        return;
      case CHANNEL:
        // One within a message begins the next, and a second one a header anew.
        if (header === undefined || this.#channel !== undefined) this.#close();
        this.#channel = "";
        return;
      case CONSTRAIN:
        if (header === undefined) return;
        if (this.#channel === undefined) this.#header = `${header} `;
        else this.#channel += " ";
        this.#isMarked ||= header.includes("to=");
        return;
      case MESSAGE:
        if (header !== undefined) this.#open(header, this.#channel);
        return;
      default:
        this.#close();
    }
  }

  #text(text: string): void {
    if (this.#header === undefined) return this.#add(text);
    if (this.#channel === undefined) this.#header += text;
    else this.#channel += text;
    const stray = this.#stray(this.#header, this.#channel);
    if (stray !== undefined) this.#say(stray);
  }

  /** Text that is no header, though it stands where one would; undefined: it may be one. */
  #stray(header: string, channel: string | undefined): string | undefined {
    const rest = this.#behindAuthor(header);
    if (rest !== undefined && channel === undefined && !RECIPIENT.test(rest)) return rest;
    const text = (rest ?? header) + (channel ?? "");
    return text.length > LONGEST_HEADER ? text : undefined;
  }

  /** What the assistant's header has behind that; undefined: it is another's, or has not come so far. */
  #behindAuthor(header: string): string | undefined {
    if (!this.#isMarked) return header;
    return header.startsWith(OURS) ? header.slice(OURS.length) : undefined;
  }

  /** Where a mark comes the beginning of a recipient is but a word. */
  #endWord(): void {
    const rest = this.#behindAuthor(this.#header ?? "");
    if (this.#channel !== undefined || rest === undefined || !/^\s*to?$/.test(rest)) return;
    this.#say(rest);
    this.#close();
  }

  /** As a message of its own. */
  #say(text: string): void {
    this.#open("");
    this.#add(text);
  }

  /** Begins a message. @param channel what a header has behind that mark */
  #open(header: string, channel = ""): void {
    this.#header = undefined;
    const [author = ""] = /^\S+/.exec(header.trimStart()) ?? [];
    const [, to = ""] = /(?:^|\s)to=(\S*)/.exec(`${header} ${channel}`) ?? [];
    const [, name = ""] = /^functions\.(.+)$/.exec(to) ?? [];
    const isOurs = author === "" || author === OURS || author.startsWith("to=");
    const isCall = isOurs && name !== "" && this.#options.readsCalls;
    const isSaid = isOurs && (name !== "" || (to === "" && !/^\s*analysis(?:\s|$)/.test(channel)));
    const kind = isCall ? "call" : isSaid ? "content" : "reasoning";
    this.#message = { kind, name, text: "", isBegun: false };
    if (kind === "reasoning") this.#thoughts.push({ from: this.#to, to: Infinity });
  }

  #add(text: string): void {
    const message = this.#message;
    if (message === undefined || (this.#options.single && this.#has.call)) return;
    const { kind } = message;
    if (kind === "call") message.text += text;
    else {
      const line = message.isBegun || !this.#has[kind] ? "" : "\n";
      this.#said[kind] += line + text;
      message.isBegun = true;
      this.#has[kind] = true;
    }
  }

  /** Ends the message, or the header, that there is. */
  #close(): void {
    const [header, message] = [this.#header, this.#message];
    const isText = header !== undefined && !this.#isMarked && this.#channel === undefined && header.trim() !== "";
    if (isText) this.#say(header);
    else if (message?.kind === "call") this.#call(message);
    else if (message?.kind === "reasoning")
      this.#thoughts.push({ from: this.#thoughts.pop()?.from ?? 0, to: this.#from });
    this.#header = "";
    this.#channel = undefined;
    this.#isMarked = false;
    this.#message = undefined;
  }

  /** What is no call is what the model said. */
  #call({ name, text }: Message): void {
    const given = text.trim() === "" ? "{}" : text.trim();
    if (isObject(given)) {
      if (!this.#options.single || !this.#has.call) this.#said.calls.push({ id: newCallId(), name, arguments: given });
      this.#has.call = true;
      return;
    }
    this.#say(text);
  }
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
