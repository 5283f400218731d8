import { visible } from "../files/visible.ts";
import { wrapWords } from "./word-wrap.ts";
import { columnsOf, type Environment, isDumb, type OutputStream, steerless, type Style } from "./style.ts";
import { shownMessage } from "../files/shown-paths.ts";

/** What a display that draws for itself needs of a screen. */
export interface LiveLine {
  /** Whether a live line can be shown; elsewhere rows must do. */
  readonly interactive: boolean;
  readonly columns: number;
  line(text: string): void;
  live(text: string): void;
}

/** A screen that shows nothing: `--quiet`. */
export const SILENT: LiveLine = { interactive: false, columns: Infinity, line() {}, live() {} };

const CLEAR_LINE = "\r\x1b[2K";

/**
 * Owns stderr: whole lines scroll by, and on a terminal one live line may stay below them. Whoever writes to the same
 * terminal through another stream calls `hide` first.
 */
export class Screen implements LiveLine {
  readonly #stream: OutputStream;
  /** Whether a live line can be shown at all: not where the terminal (Emacs' shell, say) moves no cursor. */
  readonly interactive: boolean;
  #live = "";
  #shown = false;

  constructor(stream: OutputStream, environment: Environment = {}) {
    this.#stream = stream;
    this.interactive = stream.isTTY === true && !isDumb(environment);
  }

  get columns(): number {
    return columnsOf(this.#stream);
  }

  /** Writes one line; the live line moves below it. */
  line(text: string): void {
    this.hide();
    // A terminal would break a long line within a word.
    const lines = this.#stream.isTTY === true ? wrapWords(steerless(text), this.columns) : [steerless(text)];
    this.#stream.write(`${lines.join("\n")}\n`);
    this.#show();
  }

  /** Replaces the live line; the empty text removes it. Ignored where there is no terminal. */
  live(text: string): void {
    if (!this.interactive) return;
    this.#live = steerless(text, visible);
    if (text === "") this.hide();
    else this.#show();
  }

  /** Takes the live line off the terminal until the next `line` or `live`. */
  hide(): void {
    if (this.#shown) this.#stream.write(CLEAR_LINE);
    this.#shown = false;
  }

  #show(): void {
    if (this.#live === "") return;
    this.#stream.write(`${CLEAR_LINE}${this.#live}`);
    this.#shown = true;
  }
}

/** Notes for people, on stderr. Each call is one line, which may quote anything: what would steer the terminal is made visible. */
export interface Log {
  info(line: string): void;
  /** Shown even under `--quiet`, after the word `warning:`. */
  warn(line: string): void;
  /** Shown even under `--quiet`, as it stands: what the caller cannot go on without. */
  announce(line: string): void;
  /** Shown under `--verbose` only. */
  verbose(line: string): void;
}

/** Builds the log that `--quiet` and `--verbose` ask for; `--verbose` wins when both are given. */
export function createLog(
  screen: Screen,
  style: Style,
  level: { readonly quiet: boolean; readonly verbose: boolean },
): Log {
  return {
    info(line) {
      if (!level.quiet || level.verbose) screen.line(shownMessage(line));
    },
    warn(line) {
      screen.line(`${style.yellow("warning:")} ${shownMessage(line)}`);
    },
    announce(line) {
      screen.line(shownMessage(line));
    },
    verbose(line) {
      if (level.verbose) screen.line(style.dim(shownMessage(line)));
    },
  };
}

/** An error as lines: what happened, and what to do where that is known. Both may quote anything. */
export function errorLines(message: string, hint: string, style: Style): string[] {
  const lines = [`${style.red("error:")} ${shownMessage(message)}`];
  return hint === "" ? lines : [...lines, `${style.cyan("hint:")} ${shownMessage(hint)}`];
}
