import { formatAmount } from "../../terminal/format.ts";
import { MessageParser, type MessageParserOptions, type Part } from "../tools/message-parser.ts";
import type { TextDisplay } from "./text-display.ts";

/** Shows an answer without what the model thought before it: a remark says how much that was. */
export class FoldedText {
  readonly #display: TextDisplay;
  readonly #note: (line: string) => void;
  readonly #thinking: () => MessageParserOptions["thinking"];
  #parser: MessageParser | undefined;
  #thought = "";
  #isOver = false;

  /** @param thinking asked when the first text comes */
  constructor(display: TextDisplay, note: (line: string) => void, thinking: () => MessageParserOptions["thinking"]) {
    this.#display = display;
    this.#note = note;
    this.#thinking = thinking;
  }

  push(text: string): void {
    this.#parser ??= new MessageParser({ thinking: this.#thinking() });
    this.#show(this.#parser.push(text));
  }

  /** Shows what was held back, and ends the line. */
  end(): void {
    if (this.#parser !== undefined) this.#show(this.#parser.end());
    if (!this.#isOver && this.#thought !== "") this.#sayThought();
    this.#display.end();
  }

  #show({ reasoning, content }: Part): void {
    if (reasoning !== "" && this.#thought === "") this.#note("(thinking)");
    this.#thought += reasoning;
    if (content === "") return;
    if (!this.#isOver && this.#thought !== "") this.#sayThought();
    this.#display.push(content);
  }

  #sayThought(): void {
    this.#isOver = true;
    this.#note(`(thought for ${formatAmount(this.#thought.trim().split(/\s+/).length, "word")})`);
  }
}
