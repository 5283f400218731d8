/** What is known before the work begins. */
export interface ProgressSpec {
  /** One word or two: "merging". */
  readonly title: string;
  /** Bytes in total, when they are what is counted. */
  readonly bytes?: number;
  /** Items in total, when they are counted (with or without bytes). */
  readonly items?: number;
  /** What an item is called in the plural: "tensors". */
  readonly unit?: string;
}

/** Progress of one piece of work. */
export interface Progress extends Disposable {
  /** Adds finished work to what was done before. */
  add(done: { readonly bytes?: number; readonly items?: number }): void;
  /** Names what is being worked on: a tensor, a file. */
  label(text: string): void;
  /** Ends the display; later calls do nothing. */
  close(): void;
}
