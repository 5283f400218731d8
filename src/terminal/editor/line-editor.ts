import { visible } from "../../files/visible.ts";
import { wrapWords } from "../word-wrap.ts";
import type { Buffer } from "./edit.ts";
import { type EditorState, emptyState, step } from "./editor-state.ts";
import type { History } from "./history.ts";
import type { Key } from "./keys.ts";
import { Layouter } from "./layout.ts";
import type { RawTerminal } from "./raw-terminal.ts";

/** What came of asking for a text. */
export type Answer =
  | { readonly kind: "text"; readonly text: string }
  /** Ctrl-C; `text` is what had been written. */
  | { readonly kind: "cancelled"; readonly text: string }
  /** Ctrl-D on an empty line, the terminal is gone, or the signal was aborted. */
  | { readonly kind: "end" };

const NOTHING: Completer = () => ({ from: 0, candidates: [] });
const HIDE = "\x1b[?25l";
const SHOW = "\x1b[?25h";
const CLEAR_BELOW = "\x1b[J";
const CLEAR_SCREEN = "\x1b[H\x1b[2J";

/**
 * Asks for texts on a terminal, with the keys of readline. The text is drawn in place, below what is there; nothing of
 * the terminal but the rows that it fills is touched.
 */
export class LineEditor {
  readonly #terminal: RawTerminal;
  readonly #history: History;
  readonly #layouter = new Layouter();
  #killed = "";

  constructor(terminal: RawTerminal, history: History) {
    this.#terminal = terminal;
    this.#history = history;
  }

  /** Asks once; a text that is submitted joins the history. @param complete what Tab does */
  read(prompt: Prompt, signal?: AbortSignal, complete: Completer = NOTHING): Promise<Answer> {
    const terminal = this.#terminal;
    const { entries } = this.#history;
    let state: EditorState = emptyState(entries.length, this.#killed);
    let view: View | undefined;
    let scheduled = false;

    const draw = (): void => {
      scheduled = false;
      const next = viewOf(state, entries, prompt, terminal, this.#layouter, view?.hidden);
      const back = view === undefined ? "\r" : upBy(rowsAbove(view, terminal.columns));
      const down = next.rows.length - 1 - next.cursor.row;
      const column = next.cursor.column === 0 ? "" : `\x1b[${next.cursor.column}C`;
      terminal.write(`${HIDE}${back}${CLEAR_BELOW}${next.rows.join("\r\n")}${upBy(down)}${column}${SHOW}`);
      view = next;
    };
    // Keys come in bunches (a paste, a fast typist on a slow line): one drawing for all of them.
    const drawSoon = (): void => {
      if (scheduled) return;
      scheduled = true;
      setImmediate(() => scheduled && draw());
    };

    return new Promise((resolve) => {
      const finish = (answer: Answer): void => {
        listening[Symbol.dispose]();
        signal?.removeEventListener("abort", onAbort);
        state = { ...state, cursor: state.text.length, search: undefined };
        draw();
        terminal.write("\r\n");
        this.#killed = state.killed;
        if (answer.kind === "text") this.#history.add(answer.text);
        resolve(answer);
      };
      const onAbort = (): void => finish({ kind: "end" });
      const onKey = (key: Key): void => {
        if (key.kind === "key" && key.name === "hangup") return finish({ kind: "end" });
        if (key.kind === "key" && key.name === "tab" && state.search === undefined) {
          const { shown, ...buffer } = completed(state, complete);
          state = { ...state, ...buffer };
          if (shown.length > 0) {
            // Below the text, which is drawn again below them.
            draw();
            terminal.write(`\r\n${wrapWords(shown.map(visible).join("  "), terminal.columns).join("\r\n")}\r\n`);
            view = undefined;
          }
          return drawSoon();
        }
        const { state: next, outcome } = step(state, key, entries);
        state = next;
        if (outcome === "submit") return finish({ kind: "text", text: state.text });
        if (outcome === "cancel") return finish({ kind: "cancelled", text: state.text });
        if (outcome === "leave") return finish({ kind: "end" });
        if (outcome === "clear") {
          terminal.write(CLEAR_SCREEN);
          view = undefined;
        }
        if (outcome === "suspend") {
          terminal.write("\r\n");
          view = undefined;
          scheduled = false;
          terminal.suspend(draw);
          return;
        }
        drawSoon();
      };
      const listening = terminal.listen(onKey, drawSoon);
      signal?.addEventListener("abort", onAbort, { once: true });
      draw();
      if (signal?.aborted === true) onAbort();
    });
  }
}

function upBy(rows: number): string {
  return rows === 0 ? "\r" : `\x1b[${rows}A\r`;
}

/** What stands before the first line of a text, and before its others. Both may carry colors. */
interface Prompt {
  readonly first: string;
  readonly next: string;
}

/** The rows that are on the screen, and where the cursor is in them. */
export interface View {
  readonly rows: readonly string[];
  readonly cursor: { readonly row: number; readonly column: number };
  /** Rows of the text above the first that is shown. */
  readonly hidden: number;
}

/** A prompt that leaves less room than this for text is not shown. */
const LEAST_COLUMNS = 8;

/**
 * A text being written as rows of the screen. Where it is taller than the screen, a part around the cursor is shown.
 * @param hidden the rows that were out of sight before: the part moves no more than it must
 */
export function viewOf(
  state: EditorState,
  history: readonly string[],
  prompt: Prompt,
  screen: { readonly columns: number; readonly rows: number },
  layouter: Layouter,
  hidden = 0,
): View {
  const { text, cursor, label } = shownText(state, history, prompt);
  const width = Bun.stringWidth(label);
  const indent = screen.columns - width >= LEAST_COLUMNS ? width : 0;
  const layout = layouter.layOut(text, cursor, screen.columns - indent);
  const most = Math.max(1, screen.rows - 1);
  const lowest = Math.max(0, layout.rows.length - most);
  const highest = Math.min(layout.cursor.row, Math.max(hidden, layout.cursor.row - most + 1), lowest);
  const next = padTo(prompt.next, indent);
  const rows = layout.rows
    .slice(highest, highest + most)
    .map((row, index) => (indent === 0 ? "" : index + highest === 0 ? label : next) + row);
  const at = { row: layout.cursor.row - highest, column: layout.cursor.column + indent };
  return { rows, cursor: at, hidden: highest };
}

function shownText(state: EditorState, history: readonly string[], prompt: Prompt) {
  const { search } = state;
  if (search === undefined) return { text: state.text, cursor: state.cursor, label: prompt.first };
  const text = history[search.entry] ?? search.text;
  const at = text.toLowerCase().indexOf(search.query.toLowerCase());
  return { text, cursor: Math.max(0, at), label: `(search) ${search.query}: ` };
}

function padTo(label: string, width: number): string {
  const own = Bun.stringWidth(label);
  return own > width ? " ".repeat(width) : label + " ".repeat(width - own);
}

/** How many rows above the cursor a view's first row is, after the terminal has been made `columns` wide. */
export function rowsAbove(view: View, columns: number): number {
  // Terminals wrap the rows that no longer fit, the cursor's own up to the cursor.
  const wrapped = view.rows
    .slice(0, view.cursor.row)
    .reduce((sum, row) => sum + Math.max(1, Math.ceil(Bun.stringWidth(row) / columns)), 0);
  return wrapped + Math.floor(view.cursor.column / columns);
}

/** What the text from `from` up to the cursor may become. */
export interface Completion {
  readonly from: number;
  readonly candidates: readonly string[];
}

/** Given the text before the cursor. */
type Completer = (before: string) => Completion;

/**
 * What Tab makes of a text: as much as all candidates begin with.
 * @returns the candidates, where several are left and nothing could be added
 */
export function completed(
  { text, cursor }: Buffer,
  complete: Completer,
): Buffer & { readonly shown: readonly string[] } {
  const { from, candidates } = complete(text.slice(0, cursor));
  const common = candidates.reduce(commonStart, candidates[0] ?? "");
  if (common.length <= cursor - from) return { text, cursor, shown: candidates.length > 1 ? candidates : [] };
  return { text: text.slice(0, from) + common + text.slice(cursor), cursor: from + common.length, shown: [] };
}

function commonStart(one: string, other: string): string {
  const [left, right] = [[...one], [...other]];
  const at = left.findIndex((character, index) => character !== right[index]);
  return at < 0 ? one : left.slice(0, at).join("");
}
