/** Scripts without blanks between words: a line ends behind any of their characters. */
const WIDE = String.raw`\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Hangul}`;
const TOKENS = new RegExp(String.raw`\n|[^\S\n]+|[${WIDE}]|[^\s${WIDE}]+`, "gu");
const IS_WIDE = new RegExp(`^[${WIDE}]`, "u");

/** A longer word is shown before its end is known, and broken by the terminal. */
const LONGEST_WORD = 40;

/** Breaks text that comes in pieces at words, for a terminal of so many columns. The last word waits for its end. */
export class WordWrap {
  readonly #columns: () => number;
  /** Columns of the line that are written. */
  #column = 0;
  #blanks = "";
  #word = "";

  constructor(columns: () => number) {
    this.#columns = columns;
  }

  /** @returns what can be written now */
  push(text: string): string {
    let out = "";
    for (const [token] of text.matchAll(TOKENS)) {
      if (token === "\n") {
        out += `${this.flush()}\n`;
        this.#column = 0;
      } else if (token.trim() === "") {
        out += this.#endWord();
        this.#blanks += token;
      } else if (IS_WIDE.test(token)) {
        out += this.#endWord();
        this.#word = token;
        out += this.#endWord();
      } else {
        this.#word += token;
        if (Bun.stringWidth(this.#word) > LONGEST_WORD) out += this.#endWord();
      }
    }
    return out;
  }

  /** Ends the text. @returns what was held back */
  flush(): string {
    const out = this.#endWord();
    const blanks = this.#column + this.#blanks.length > this.#columns() ? "" : this.#blanks;
    this.#blanks = "";
    this.#column += blanks.length;
    return out + blanks;
  }

  #endWord(): string {
    if (this.#word === "") return "";
    const [blanks, word, columns] = [this.#blanks, this.#word, this.#columns()];
    this.#blanks = this.#word = "";
    const width = Bun.stringWidth(word);
    const isAtEnd = this.#column > 0 && this.#column + Bun.stringWidth(blanks) + width > columns;
    const before = isAtEnd ? "\n" : blanks;
    this.#column = (isAtEnd ? 0 : this.#column + Bun.stringWidth(blanks)) + width;
    if (this.#column > columns) this.#column %= columns;
    return before + word;
  }
}

/** Breaks a line at blanks into lines of at most so many columns; a longer word (a path) stays whole, on a line of its own. */
export function wrapWords(line: string, columns: number): string[] {
  if (Bun.stringWidth(line) <= columns) return [line];
  return Bun.wrapAnsi(line, columns, { hard: false, wordWrap: true, trim: true }).split("\n");
}
