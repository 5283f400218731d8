import { MarkdownStream, printable } from "./markdown.ts";
import type { Style } from "../../terminal/style.ts";
import { WordWrap } from "../../terminal/word-wrap.ts";
import { formatAmount } from "../../terminal/format.ts";
import type { Part } from "../tools/message-parser.ts";

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
