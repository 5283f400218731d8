/** One record of a data file, whatever its format. */
export interface DataRecord {
  /** Line (JSON lines, text, CSV), element (JSON array) or row (parquet), from 1. */
  readonly line: number;
  /** The same in words: `line 7`, `element 7 (line 1)`, `row 7`. */
  readonly place: string;
  readonly fields: Readonly<Record<string, unknown>>;
}
