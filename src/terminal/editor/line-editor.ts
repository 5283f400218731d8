import { visible } from "../../files/visible.ts";
import { wrapWords } from "../wrap.ts";
import { type Completer, completed } from "./completion.ts";
import { emptyState, type EditorState, step } from "./editor-state.ts";
import { type Prompt, rowsAbove, type View, viewOf } from "./editor-view.ts";
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
