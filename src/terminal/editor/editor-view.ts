import type { EditorState } from "./editor-state.ts";
import type { Layouter } from "./layout.ts";

/** What stands before the first line of a text, and before its others. Both may carry colors. */
export interface Prompt {
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
