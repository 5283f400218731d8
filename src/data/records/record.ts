/** One record of a data file, whatever its format. */
export interface DataRecord {
  /** Line (JSON) or row (parquet), from 1. */
  readonly line: number;
  /** The same in words: `line 7`, `row 7`. */
  readonly place: string;
  readonly fields: Readonly<Record<string, unknown>>;
}
