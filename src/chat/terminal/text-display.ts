import type { Style } from "../../terminal/style.ts";
import { WordWrap } from "../../terminal/word-wrap.ts";
import { formatAmount } from "../../terminal/format.ts";
import type { Part } from "../tools/message-parser.ts";
import { visibleLines } from "../../files/visible.ts";

/**
 * Shows a model's text on a terminal as it comes: markdown with colors where there are any, the text as it stands where
 * there are none. It never steers the terminal, and ends with a newline.
 */
export class TextDisplay {
  readonly #write: (text: string) => void;
  readonly #markdown: MarkdownStream | undefined;
  readonly #wrap: WordWrap;
  #lineIsOpen = false;

  /**
   * @param markdown whether the text is markdown; a continued text (`--raw`) is not
   * @param columns of the terminal, where lines are broken at words, but code
   */
  constructor(write: (text: string) => void, style: Style, markdown: boolean, columns = () => Infinity) {
    this.#write = write;
    this.#wrap = new WordWrap(columns);
    const hasColor = style.bold("x") !== "x";
    this.#markdown = markdown && hasColor ? new MarkdownStream(style) : undefined;
  }

  push(text: string): void {
    const markdown = this.#markdown;
    if (markdown === undefined) return this.#show(printable(text));
    for (const part of text.split(/(?<=\n)/)) {
      const wasInCode = markdown.isInCode;
      const shown = markdown.push(part);
      this.#show(wasInCode || markdown.isInCode ? this.#wrap.flush() + shown : this.#wrap.push(shown));
    }
  }

  /** Shows what was held back, and ends the line. */
  end(): void {
    if (this.#markdown !== undefined) this.#show(this.#wrap.push(this.#markdown.flush()) + this.#wrap.flush());
    if (this.#lineIsOpen) this.#show("\n");
  }

  #show(text: string): void {
    if (text === "") return;
    this.#write(text);
    this.#lineIsOpen = !text.endsWith("\n");
  }
}

/** Shows an answer without what the model thought: remarks say how much that was. */
export class FoldedText {
  readonly #display: TextDisplay;
  readonly #note: (line: string) => void;
  #thought = "";

  constructor(display: TextDisplay, note: (line: string) => void) {
    this.#display = display;
    this.#note = note;
  }

  /** Ends the line. */
  end(): void {
    this.#sayThought();
    this.#display.end();
  }

  push({ reasoning, content }: Part): void {
    if (reasoning !== "" && this.#thought === "") {
      // It may think again behind something that it said.
      this.#display.end();
      this.#note("(thinking)");
    }
    this.#thought += reasoning;
    if (content === "") return;
    this.#sayThought();
    this.#display.push(content);
  }

  #sayThought(): void {
    if (this.#thought === "") return;
    const words = this.#thought.trim().split(/\s+/).length;
    this.#thought = "";
    this.#note(`(thought for ${formatAmount(words, "word")})`);
  }
}

/** Inline marks, the longer first: what opens with one closes with the same. */
const MARKS = ["***", "**", "__", "~~", "*", "_", "`"] as const;
type Mark = (typeof MARKS)[number];

/** Longer stretches between two marks are no emphasis: what is held back must be shown some time. */
const LONGEST_SPAN = 400;

/**
 * Turns markdown that comes in pieces into text with colors. Everything is shown as soon as it is known what it is:
 * plain text at once, emphasis and code when they close (or the line ends, and then as they were written). Headings,
 * emphasis, code, lists, quotes and rules are marked; tables and links stay as they are, as readable text. Only marks are
 * ever left out, so that what is on the screen can be copied.
 *
 * Bun has a renderer for whole documents (`Bun.markdown.ansi`); this is for those that are still being written.
 */
export class MarkdownStream {
  readonly #style: Style;
  /** The part of the current line that has not been shown. */
  #held = "";
  /** The kind of the current line; undefined until its beginning is known. */
  #line: ((text: string) => string) | undefined;
  /** The mark that opened the code block that we are in. */
  #fence: string | undefined;
  /** The last character shown before what is held. */
  #before = "";

  constructor(style: Style) {
    this.#style = style;
  }

  get isInCode(): boolean {
    return this.#fence !== undefined;
  }

  /** @returns what can be shown now */
  push(text: string): string {
    let shown = "";
    // Each line apart: a piece often holds the end of one and the beginning of the next.
    for (const part of printable(text).split(/(?<=\n)/)) {
      this.#held += part;
      shown += part.endsWith("\n") ? this.#endLine("\n") : this.#partOfLine();
    }
    return shown;
  }

  /** Ends the text. @returns what was held back */
  flush(): string {
    return this.#endLine("");
  }

  #endLine(newline: string): string {
    const text = newline === "" ? this.#held : this.#held.slice(0, -1);
    const shown = this.#wholeLine(text);
    this.#held = "";
    this.#line = undefined;
    this.#before = "";
    return shown + newline;
  }

  #wholeLine(text: string): string {
    if (this.#line !== undefined) return this.#inline(text, true);
    const fence = /^ {0,3}(```+|~~~+)/.exec(text)?.[1];
    if (this.#fence !== undefined) {
      const closes = fence !== undefined && fence.startsWith(this.#fence) && text.trim() === fence;
      if (closes) this.#fence = undefined;
      return closes ? this.#style.dim(text) : this.#style.cyan(text);
    }
    if (fence !== undefined) {
      this.#fence = fence;
      return this.#style.dim(text);
    }
    if (/^ {0,3}([-*_])( *\1){2,} *$/.test(text)) return this.#style.dim("─".repeat(20));
    return this.#beginLine(text) + this.#inline(this.#held.replace(/\n$/, ""), true);
  }

  #partOfLine(): string {
    if (this.#line === undefined) {
      // Enough must be there to tell a fence, a rule, a heading or a list from text.
      if (this.#fence !== undefined || /^[ \t]*([-+*_~`>#]+(?: [-+*_ ]*)?|\d{0,9}[.)]?|)$/.test(this.#held)) return "";
      if (/^ {0,3}(```|~~~)/.test(this.#held)) return "";
      return this.#beginLine(this.#held) + this.#inline(this.#held, false);
    }
    return this.#inline(this.#held, false);
  }

  /** Takes the mark of a heading, a list item or a quote off the line, and shows it. */
  #beginLine(text: string): string {
    const { bold, cyan, dim } = this.#style;
    this.#held = text;
    this.#line = (inner) => inner;
    const heading = /^ {0,3}#{1,6} +/.exec(text)?.[0];
    if (heading !== undefined) {
      this.#held = text.slice(heading.length);
      this.#line = (inner) => (inner === "" ? "" : bold(inner));
      return "";
    }
    const [whole, space = "", mark = ""] = /^([ \t]*)([-+*]|\d{1,9}[.)]|>) /.exec(text) ?? [];
    if (whole === undefined) return "";
    this.#held = text.slice(whole.length);
    if (mark === ">") return `${space}${dim("│")} `;
    return `${space}${cyan(/\d/.test(mark) ? mark : "•")} `;
  }

  /** Shows as much of the current line as is decided. */
  #inline(text: string, ended: boolean): string {
    const show = this.#line ?? ((inner: string) => inner);
    const { shown, rest } = renderInline(text, this.#before, ended, this.#style);
    this.#before = text.slice(0, text.length - rest.length).at(-1) ?? this.#before;
    this.#held = rest;
    return show(shown);
  }
}

/**
 * Renders emphasis and code in a part of a line.
 * @param ended nothing follows: what has not closed is text
 * @returns what is shown, and the rest that waits for more
 */
function renderInline(text: string, before: string, ended: boolean, style: Style): { shown: string; rest: string } {
  let shown = "";
  let last = before;
  let at = 0;
  while (at < text.length) {
    const next = text.slice(at).search(/[*_`~\\]/);
    const plain = next < 0 ? text.slice(at) : text.slice(at, at + next);
    shown += plain;
    last = plain.at(-1) ?? last;
    at += plain.length;
    if (next < 0) break;
    const span = readSpan(text, at, last, ended);
    if (span === "waiting") return { shown, rest: text.slice(at) };
    shown += span.mark === undefined ? span.text : emphasise(span.mark, span.text, style);
    at = span.end;
    last = text[at - 1] ?? last;
  }
  return { shown, rest: "" };
}

interface Span {
  /** Undefined for characters that mark nothing. */
  readonly mark?: Mark | undefined;
  readonly text: string;
  readonly end: number;
}

/** Reads what begins at a character that may mark something. */
function readSpan(text: string, at: number, before: string, ended: boolean): Span | "waiting" {
  if (text[at] === "\\") {
    const escaped = text[at + 1];
    if (escaped === undefined && !ended) return "waiting";
    const isMark = escaped !== undefined && /[*_`~\\#]/.test(escaped);
    return isMark ? { text: escaped, end: at + 2 } : { text: "\\", end: at + 1 };
  }
  const [run = ""] = /^([*_`~])\1*/.exec(text.slice(at)) ?? [];
  const literal = { text: run, end: at + run.length };
  // The run may go on in the next piece.
  if (at + run.length === text.length) return ended ? literal : "waiting";
  const mark = MARKS.find((known) => known === run);
  if (mark === undefined || !opens(mark, before, text[at + run.length] ?? "")) return literal;
  const start = at + run.length;
  for (let end = text.indexOf(mark, start); end >= 0; end = text.indexOf(mark, end + 1)) {
    if (end - at > LONGEST_SPAN) return literal;
    const after = text[end + mark.length];
    if (after === undefined && !ended) return "waiting";
    if (!closes(mark, text[end - 1] ?? "", after ?? "")) continue;
    return { mark, text: text.slice(start, end), end: end + mark.length };
  }
  return ended || text.length - at > LONGEST_SPAN ? literal : "waiting";
}

/** A simple form of CommonMark's flanking rules: marks stand at the outer ends of words. */
function opens(mark: Mark, before: string, after: string): boolean {
  if (mark === "`") return true;
  return !/\s/.test(after) && !/[\p{L}\p{N}]/u.test(before);
}

function closes(mark: Mark, before: string, after: string): boolean {
  if (mark === "`") return after !== "`";
  return !/\s/.test(before) && after !== mark[0] && before !== mark[0] && !/[\p{L}\p{N}]/u.test(after);
}

function emphasise(mark: Mark, text: string, style: Style): string {
  if (mark === "`") return style.cyan(text);
  const inner = renderInline(text, "", true, style).shown;
  if (mark === "~~") return style.dim(inner);
  if (mark === "*" || mark === "_") return style.italic(inner);
  return style.bold(mark === "***" ? style.italic(inner) : inner);
}

/** A model's text must not steer the terminal: control characters become visible, tabs and newlines stay. */
export function printable(text: string): string {
  return visibleLines(text.replaceAll("\r", ""));
}
