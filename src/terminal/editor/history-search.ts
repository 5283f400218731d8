/** A search through the history, as Ctrl-R begins it. */
export interface Search {
  readonly query: string;
  /** The entry that was found; the history's length while none was. */
  readonly entry: number;
  /** The text and cursor from before, for whoever changes their mind. */
  readonly text: string;
  readonly cursor: number;
}

/** Begins a search; nothing is found yet. */
export function search(text: string, cursor: number, history: readonly string[]): Search {
  return { query: "", entry: history.length, text, cursor };
}

/**
 * The newest entry, not newer than `from`, that contains the query (letter case counts only where the query has capitals).
 * Where there is none the search stays where it was.
 */
export function findBackwards(wanted: Search, history: readonly string[], from = wanted.entry): Search {
  const { query } = wanted;
  if (query === "") return wanted;
  const fold = (text: string): string => (query === query.toLowerCase() ? text.toLowerCase() : text);
  for (let entry = Math.min(from, history.length - 1); entry >= 0; entry--) {
    if (fold(history[entry] ?? "").includes(query)) return { ...wanted, entry };
  }
  return wanted;
}
