import { type Call, type CallFormat, readCalls } from "./formats.ts";
import { type CalledTool, readFunctionCall } from "./function-calls.ts";

/** Some of an answer. */
export interface Part {
  readonly content: string;
  /** What the model thought before it answered. */
  readonly reasoning: string;
  readonly calls: readonly Call[];
}

/** Takes an answer apart as it comes: what was thought, what is said, and calls of tools. */
export interface AnswerParser {
  /** @param text that follows. @returns what is sure by now */
  push(text: string): Part;
  /** No more text comes. @returns what was held back */
  end(): Part;
  /** Where in the text reasoning stands, without the marks around it; one that goes on ends at Infinity. */
  readonly thoughts: readonly Span[];
}

/** A part of a text, in UTF-16 units; `to` is not in it. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface MessageParserOptions {
  readonly kind?: "tags";
  /** Calls are looked for; undefined: the text is what it is. */
  readonly format?: CallFormat | undefined;
  /** Those that may be called, where their schemas say how a call is read. */
  readonly tools?: readonly CalledTool[] | undefined;
  /** The prompt ends behind `format.open`. */
  readonly inCall?: boolean;
  /** An answer has one call at most: what follows on it is left out. */
  readonly single?: boolean;
  /** What does not begin as a call has none, whatever stands in its strings. */
  readonly onlyFirst?: boolean;
  /** `open`: the prompt ends behind `<think>`. `maybe`: an answer may begin with it. */
  readonly thinking?: "open" | "maybe" | undefined;
}

/** Around what is thought. */
export const [THINK, THOUGHT] = ["<think>", "</think>"] as const;

/** Of answers whose marks are text: {@link tagFormat}. */
export class MessageParser implements AnswerParser {
  #format: CallFormat | undefined;
  readonly #tools: readonly CalledTool[];
  readonly #single: boolean;
  readonly #onlyFirst: boolean;
  #mode: "start" | "reasoning" | "content" | "call";
  /** Text that may turn out to be a mark, and that of a call. */
  #held = "";
  #pushed = 0;
  #thought: Span = { from: Infinity, to: Infinity };
  /** White space at the beginning and end of what was thought is the template's. */
  #isTrimming = false;
  #calls = 0;
  /** The answer began as a call and was none. */
  #isPlain = false;

  constructor({ format, tools, inCall = false, thinking, single = false, onlyFirst = false }: MessageParserOptions) {
    this.#format = format;
    this.#tools = tools ?? [];
    this.#single = single;
    this.#onlyFirst = onlyFirst;
    this.#mode = inCall ? "call" : thinking === "open" ? "reasoning" : "content";
    if (thinking === "maybe" && !inCall) this.#mode = "start";
    this.#isTrimming = thinking === "open";
    if (this.#mode === "reasoning") this.#thought = { from: 0, to: Infinity };
  }

  get thoughts(): readonly Span[] {
    return [this.#thought];
  }

  push(text: string): Part {
    this.#held += text;
    this.#pushed += text.length;
    return this.#parts(false);
  }

  end(): Part {
    return this.#parts(true);
  }

  #parts(isLast: boolean): Part {
    let content = "";
    let reasoning = "";
    const calls: Call[] = [];
    for (;;) {
      const before = [this.#mode, this.#held.length].join(" ");
      switch (this.#mode) {
        case "start":
          this.#start(isLast);
          break;
        case "reasoning":
          reasoning += this.#reasoning(isLast);
          break;
        case "content":
          content += this.#content(isLast);
          break;
        case "call": {
          const found = this.#call(isLast);
          content += found.content;
          calls.push(...found.calls);
          this.#calls += found.calls.length;
        }
      }
      if (before === [this.#mode, this.#held.length].join(" ")) break;
    }
    return { content, reasoning, calls };
  }

  /** White space may stand before `<think>`; what begins otherwise is the answer. */
  #start(isLast: boolean): void {
    const text = this.#held.trimStart();
    if (text.startsWith(THINK)) {
      this.#held = text.slice(THINK.length);
      this.#thought = { from: this.#pushed - this.#held.length, to: Infinity };
      this.#mode = "reasoning";
      this.#isTrimming = true;
    } else if (isLast || (text !== "" && !THINK.startsWith(text))) this.#mode = "content";
  }

  #reasoning(isLast: boolean): string {
    if (this.#isTrimming) {
      this.#held = this.#held.trimStart();
      if (this.#held !== "") this.#isTrimming = false;
    }
    const at = this.#held.indexOf(THOUGHT);
    if (at >= 0) {
      const thought = this.#held.slice(0, at).trimEnd();
      this.#thought = { ...this.#thought, to: this.#pushed - this.#held.length + at };
      this.#held = this.#held.slice(at + THOUGHT.length);
      this.#mode = "content";
      this.#isTrimming = true;
      return thought;
    }
    return this.#take(isLast ? this.#held.length : sureLength(this.#held, THOUGHT));
  }

  #content(isLast: boolean): string {
    if (this.#single && this.#calls > 0) {
      this.#held = "";
      return "";
    }
    if (this.#isTrimming) {
      const text = this.#held.trimStart();
      if (text === "" && !isLast) return "";
      this.#held = text;
      if (text !== "") this.#isTrimming = false;
    }
    const open = this.#format?.open ?? "";
    const isCall = this.#held.startsWith(open) || (!isLast && open.startsWith(this.#held));
    if (this.#onlyFirst && this.#calls === 0 && !isCall) this.#format = undefined;
    const format = this.#format;
    if (format === undefined) return this.#take(this.#held.length);
    if (format.open === "") {
      // A call is the whole answer: whatever begins as an object is held back until it ends.
      const text = this.#held.trimStart();
      if (text === "" && !isLast) return "";
      if (text.startsWith("{") && this.#calls === 0 && !this.#isPlain) {
        this.#mode = "call";
        return "";
      }
      return this.#takeAll();
    }
    const at = this.#held.indexOf(format.open);
    if (at >= 0) {
      const said = this.#take(at);
      this.#held = this.#held.slice(format.open.length);
      this.#mode = "call";
      return said.trimEnd();
    }
    if (isLast) return this.#takeAll();
    return this.#take(sureLength(this.#held, format.open));
  }

  #call(isLast: boolean): { readonly content: string; readonly calls: readonly Call[] } {
    const format = this.#format;
    if (format === undefined) return { content: this.#takeAll(), calls: [] };
    const end = format.close === "" ? -1 : endOfCall(this.#held, format, isLast);
    if (end < 0 && !isLast) return { content: "", calls: [] };
    const text = this.#take(end < 0 ? this.#held.length : end);
    this.#held = this.#held.slice(end < 0 ? 0 : format.close.length);
    this.#mode = "content";
    const calls = this.#read(text.trim(), format);
    // Between calls and behind them stand line ends.
    this.#isTrimming = calls !== undefined;
    if (calls !== undefined) return { content: "", calls: this.#single ? calls.slice(0, 1) : calls };
    if (text === "" && end < 0) return { content: "", calls: [] };
    // Where it is no call it is what the model said. Without a mark of its own it would be looked at for ever.
    this.#isPlain = true;
    return { content: format.open + text + (end < 0 ? "" : format.close), calls: [] };
  }

  #read(text: string, format: CallFormat): readonly Call[] | undefined {
    if (format.kind === "json") return readCalls(text, format);
    const call = readFunctionCall(text, this.#tools);
    return call && [call];
  }

  #take(length: number): string {
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    return text;
  }

  #takeAll(): string {
    return this.#take(this.#held.length);
  }
}

/** Where a call's end is marked: not within one of its strings, unless it has come whole and has no other mark. */
function endOfCall(text: string, { close: mark, kind }: CallFormat, isLast: boolean): number {
  const first = text.indexOf(mark);
  if (first < 0) return first;
  if (kind === "function") {
    const end = /<\/function>\s*(?=<\/tool_call>)/.exec(text);
    return end === null ? (isLast ? first : -1) : end.index + end[0].length;
  }
  const stringsAndMarks = new RegExp(`"(?:[^"\\\\]+|\\\\[\\s\\S])*"?|${RegExp.escape(mark)}`, "g");
  for (const { 0: found, index } of text.matchAll(stringsAndMarks)) if (found === mark) return index;
  return isLast ? first : -1;
}

/** How much of a text is surely before a mark: without what may be its beginning, and the white space before that. */
function sureLength(held: string, mark: string): number {
  const text = held.trimEnd();
  for (let length = Math.min(mark.length - 1, text.length); length > 0; length--) {
    if (text.endsWith(mark.slice(0, length))) return text.slice(0, -length).trimEnd().length;
  }
  return text.length;
}
