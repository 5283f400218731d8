/** How a sample was written out: by the chat template, or as it stands. What was trained on with one is talked to with it. */
export const SAMPLE_FORMATS = ["chat", "completion", "text"] as const;
export type SampleFormat = (typeof SAMPLE_FORMATS)[number];

/** One sample as token ids: views into its data set's arrays, not copies. */
export interface Sample {
  readonly ids: Uint32Array;
  /** 1 where the token is a target of the loss, else 0; never the first token, which nothing predicts. */
  readonly supervised: Uint8Array;
  /** Where it stands in its file, from 1: the line, the element of a JSON array, or the row of a parquet file. */
  readonly line: number;
  readonly format: SampleFormat;
}

/** What was read, and what became of it. */
export interface DataTotals {
  /** Samples kept. */
  readonly samples: number;
  /** Tokens of the samples kept, after cutting. */
  readonly tokens: number;
  /** How many of them are targets of the loss. */
  readonly supervisedTokens: number;
  /** Samples longer than the maximum, cut on the right; among those kept and those dropped. */
  readonly cut: number;
  /** Samples left out because no token of theirs is supervised. */
  readonly dropped: number;
  /** Tokens of the longest sample kept. */
  readonly longest: number;
  /** Roles of messages that chats do not have, such as `human` and `gpt`. */
  readonly unknownRoles: readonly string[];
}

/** Tokenized samples in file order. */
export interface DataSet {
  /** The file, for messages. */
  readonly path: string;
  readonly totals: DataTotals;
  /** How its samples were written out: `chat` where a part of them was. */
  readonly format: SampleFormat;
  /** Number of samples kept. */
  readonly length: number;
  /** Number of tokens of sample i. */
  lengthOf(i: number): number;
  /** Number of supervised tokens of sample i. */
  supervisedOf(i: number): number;
  /** @throws {RangeError} when i is not one of 0 … length − 1 */
  sample(i: number): Sample;
}

/**
 * N tokens that go through the model at once: whole samples one after another, without padding. All arrays are of the
 * micro-batch's own (not views), so that they can be uploaded as they are.
 */
export interface MicroBatch {
  /** (N) token ids. */
  readonly ids: Uint32Array;
  /** (N) position of the token in its sample, from 0. */
  readonly positions: Uint32Array;
  /** (N) index in this micro-batch of the first token of the token's sample. */
  readonly starts: Uint32Array;
  /** (S) tokens whose hidden state predicts a supervised next token of the same sample; ascending, at least one. */
  readonly rows: Uint32Array;
  /** (S) the token that each of `rows` must predict: `ids[rows[i] + 1]`. */
  readonly targets: Uint32Array;
  /** Number of samples. */
  readonly samples: number;
}
