import * as edit from "./edit.ts";
import type { Key } from "./keys.ts";

/** Everything that a line editor remembers between two keys. */
export interface EditorState extends edit.Buffer {
  /** What was cut last: Ctrl-Y puts it back. */
  readonly killed: string;
  /** Whether the last key cut too: cuts in a row are put back as one. */
  readonly killing: boolean;
  /** Which history entry is shown; the history's length while a new text is written. */
  readonly entry: number;
  /** The new text, while an entry is shown. */
  readonly draft: string;
  /** Ctrl-R's search, while it runs. */
  readonly search: Search | undefined;
}

/**
 * What a key asks for beyond a change of the text: `submit` it; `cancel` (Ctrl-C); `leave` (Ctrl-D on nothing); `clear`
 * the screen; `suspend` the program.
 */
export type Outcome = "submit" | "cancel" | "leave" | "clear" | "suspend";

export interface Step {
  readonly state: EditorState;
  readonly outcome?: Outcome;
}

/** An empty text, to be written with the given number of history entries behind it. */
export function emptyState(entries: number, killed = ""): EditorState {
  return { text: "", cursor: 0, killed, killing: false, entry: entries, draft: "", search: undefined };
}

type History = readonly string[];
type Binding = (state: EditorState, history: History) => Step;

/** The keys that readline's users know, and those of everyone else. */
const BINDINGS: Readonly<Record<string, Binding>> = {
  left: move(edit.left),
  "ctrl-b": move(edit.left),
  right: move(edit.right),
  "ctrl-f": move(edit.right),
  home: move(edit.lineStart),
  "ctrl-a": move(edit.lineStart),
  end: move(edit.lineEnd),
  "ctrl-e": move(edit.lineEnd),
  "ctrl-left": move(edit.wordStart),
  "alt-left": move(edit.wordStart),
  "alt-b": move(edit.wordStart),
  "ctrl-right": move(edit.wordEnd),
  "alt-right": move(edit.wordEnd),
  "alt-f": move(edit.wordEnd),
  "ctrl-home": move(() => 0),
  "ctrl-end": move(({ text }) => text.length),
  up: vertical(-1),
  down: vertical(1),
  "ctrl-p": vertical(-1),
  "ctrl-n": vertical(1),
  "page-up": (state, history) => ({ state: recall(state, history, state.entry - 1) }),
  "page-down": (state, history) => ({ state: recall(state, history, state.entry + 1) }),
  backspace: erase(edit.left),
  "shift-backspace": erase(edit.left),
  delete: erase(edit.right),
  "ctrl-d": (state, history) => (state.text === "" ? { state, outcome: "leave" } : erase(edit.right)(state, history)),
  "ctrl-k": cut((buffer) => {
    // At the end of a line it takes the newline, as in Emacs.
    const end = edit.lineEnd(buffer);
    return end === buffer.cursor ? edit.right(buffer) : end;
  }),
  "ctrl-u": cut((buffer) => {
    const start = edit.lineStart(buffer);
    return start === buffer.cursor ? edit.left(buffer) : start;
  }),
  "ctrl-w": cut(edit.shellWordStart),
  "alt-backspace": cut(edit.wordStart),
  "ctrl-backspace": cut(edit.wordStart),
  "alt-d": cut(edit.wordEnd),
  "ctrl-delete": cut(edit.wordEnd),
  "ctrl-y": (state) => ({ state: { ...state, ...edit.insert(state, state.killed) } }),
  "alt-enter": newline,
  "ctrl-j": newline,
  enter: (state, history) =>
    // A backslash at the end of a line asks for another one, as in a shell.
    state.text[state.cursor - 1] === "\\"
      ? newline({ ...state, ...edit.remove(state, state.cursor - 1) }, history)
      : { state: { ...state, cursor: state.text.length }, outcome: "submit" },
  "ctrl-c": (state) => ({ state, outcome: "cancel" }),
  "ctrl-l": (state) => ({ state, outcome: "clear" }),
  "ctrl-z": (state) => ({ state, outcome: "suspend" }),
  "ctrl-r": (state, history) => ({ state: { ...state, search: search(state.text, state.cursor, history) } }),
};

/**
 * What one key does to a text being written. Keys without a meaning do nothing.
 * @param history earlier texts, the oldest first
 */
export function step(state: EditorState, key: Key, history: History): Step {
  if (state.search !== undefined) return stepSearch(state, state.search, key, history);
  if (key.kind !== "key") return settle({ state: { ...state, ...edit.insert(state, key.text) } });
  const binding = BINDINGS[key.name];
  if (binding === undefined) return { state: { ...state, killing: false } };
  return settle(binding(state, history), /^(ctrl-[kuw]|alt-d|(alt|ctrl)-backspace|ctrl-delete)$/.test(key.name));
}

function settle({ state, outcome }: Step, killing = false): Step {
  const settled = { ...state, ...edit.snap(state), killing };
  return outcome === undefined ? { state: settled } : { state: settled, outcome };
}

/** In a search, text narrows it, Ctrl-R goes back in time; any other key ends it and does its usual work. */
function stepSearch(state: EditorState, active: Search, key: Key, history: History): Step {
  const searching = (search: Search): Step => ({ state: { ...state, search } });
  if (key.kind === "text") return searching(findBackwards({ ...active, query: active.query + key.text }, history));
  if (key.kind === "paste") return { state };
  if (key.name === "backspace") {
    const query = active.query.slice(0, edit.left({ text: active.query, cursor: active.query.length }));
    return searching(findBackwards({ ...active, query, entry: history.length }, history));
  }
  if (key.name === "ctrl-r") return searching(findBackwards(active, history, active.entry - 1));
  const found = history[active.entry];
  const abandoned = key.name === "ctrl-c" || key.name === "ctrl-g" || found === undefined;
  const buffer = abandoned
    ? { text: active.text, cursor: active.cursor, entry: history.length }
    : { text: found, cursor: found.length, entry: active.entry, draft: active.text };
  const ended = { ...state, ...buffer, search: undefined };
  const swallowed = abandoned || key.name === "escape";
  return swallowed ? { state: ended } : step(ended, key, history);
}

function move(motion: edit.Motion): Binding {
  return (state) => ({ state: { ...state, cursor: motion(state) } });
}

function erase(motion: edit.Motion): Binding {
  return (state) => {
    const { text, cursor } = edit.remove(state, motion(state));
    return { state: { ...state, text, cursor } };
  };
}

function cut(motion: edit.Motion): Binding {
  return (state) => {
    const to = motion(state);
    const { text, cursor, removed } = edit.remove(state, to);
    const before = state.killing ? state.killed : "";
    const killed = to < state.cursor ? removed + before : before + removed;
    return { state: { ...state, text, cursor, killed: removed === "" ? state.killed : killed } };
  };
}

function newline(state: EditorState, _history: History): Step {
  return { state: { ...state, ...edit.insert(state, "\n") } };
}

/** Up and down go through the lines of the text, and from its first and last line through the history. */
function vertical(direction: -1 | 1): Binding {
  return (state, history) => {
    const cursor = edit.verticalMove(state, direction);
    if (cursor !== undefined) return { state: { ...state, cursor } };
    return { state: recall(state, history, state.entry + direction) };
  };
}

function recall(state: EditorState, history: History, entry: number): EditorState {
  if (entry < 0 || entry > history.length) return state;
  const draft = state.entry === history.length ? state.text : state.draft;
  const text = history[entry] ?? draft;
  return { ...state, text, cursor: text.length, entry, draft };
}

/** A search through the history, as Ctrl-R begins it. */
interface Search {
  readonly query: string;
  /** The entry that was found; the history's length while none was. */
  readonly entry: number;
  /** The text and cursor from before, for whoever changes their mind. */
  readonly text: string;
  readonly cursor: number;
}

/** Begins a search; nothing is found yet. */
function search(text: string, cursor: number, history: readonly string[]): Search {
  return { query: "", entry: history.length, text, cursor };
}

/**
 * The newest entry, not newer than `from`, that contains the query (letter case counts only where the query has capitals).
 * Where there is none the search stays where it was.
 */
function findBackwards(wanted: Search, history: readonly string[], from = wanted.entry): Search {
  const { query } = wanted;
  if (query === "") return wanted;
  const fold = (text: string): string => (query === query.toLowerCase() ? text.toLowerCase() : text);
  for (let entry = Math.min(from, history.length - 1); entry >= 0; entry--) {
    if (fold(history[entry] ?? "").includes(query)) return { ...wanted, entry };
  }
  return wanted;
}
