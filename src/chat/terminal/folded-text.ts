import { formatAmount } from "../../terminal/format.ts";
import type { Part } from "../tools/message-parser.ts";
import type { TextDisplay } from "./text-display.ts";

/** Shows an answer without what the model thought before it: a remark says how much that was. */
export class FoldedText {
  readonly #display: TextDisplay;
  readonly #note: (line: string) => void;
  #thought = "";
  #isOver = false;

  constructor(display: TextDisplay, note: (line: string) => void) {
    this.#display = display;
    this.#note = note;
  }

  /** Ends the line. */
  end(): void {
    if (!this.#isOver && this.#thought !== "") this.#sayThought();
    this.#display.end();
  }

  push({ reasoning, content }: Part): void {
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
