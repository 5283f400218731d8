import { formatAmount } from "../../terminal/format.ts";
import type { Part } from "../tools/message-parser.ts";
import type { TextDisplay } from "./text-display.ts";

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
