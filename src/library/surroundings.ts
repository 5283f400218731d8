/** How far something is. */
export interface ProgressEvent {
  /** What is done: "merging", "loading", "reading". */
  readonly task: string;
  /** What is worked on: a tensor, a file; empty where there is nothing to name. */
  readonly label: string;
  /** So much is done, of so much (undefined: not known), in this unit: "bytes", "tensors". */
  readonly done: number;
  readonly total: number | undefined;
  readonly unit: string;
}

/** Something that the user should know: one line. */
export interface NoteEvent {
  readonly level: "info" | "warning";
  readonly text: string;
}

/** What every function takes besides its own options. */
export interface Surroundings {
  /** What to compute on: `cpu`, a GPU's name or index, `software`; by default the fastest real GPU, else `cpu`. */
  readonly device?: string | undefined;
  /** Of the CPU device; by default one for each fast core. */
  readonly threads?: number | undefined;
  /** Ends the work: what was begun is put away, and the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((event: ProgressEvent) => void) | undefined;
  readonly onNote?: ((event: NoteEvent) => void) | undefined;
}
