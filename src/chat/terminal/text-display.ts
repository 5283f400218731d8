import { MarkdownStream, printable } from "./markdown.ts";
import type { Style } from "../../terminal/style.ts";

/**
 * Shows a model's text on a terminal as it comes: markdown with colors where there are any, the text as it stands where
 * there are none. It never steers the terminal, and ends with a newline.
 */
export class TextDisplay {
  readonly #write: (text: string) => void;
  readonly #markdown: MarkdownStream | undefined;
  #lineIsOpen = false;

  /** @param markdown whether the text is markdown; a continued text (`--raw`) is not */
  constructor(write: (text: string) => void, style: Style, markdown: boolean) {
    this.#write = write;
    const hasColor = style.bold("x") !== "x";
    this.#markdown = markdown && hasColor ? new MarkdownStream(style) : undefined;
  }

  push(text: string): void {
    this.#show(this.#markdown?.push(text) ?? printable(text));
  }

  /** Shows what was held back, and ends the line. */
  end(): void {
    if (this.#markdown !== undefined) this.#show(this.#markdown.flush());
    if (this.#lineIsOpen) this.#show("\n");
  }

  #show(text: string): void {
    if (text === "") return;
    this.#write(text);
    this.#lineIsOpen = !text.endsWith("\n");
  }
}
