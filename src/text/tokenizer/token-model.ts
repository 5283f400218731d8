/** Turns one piece of text into ids: the part of a tokenizer that was trained. */
export interface TokenModel {
  /** The vocabulary without added tokens. */
  readonly ids: ReadonlyMap<string, number>;
  /** Appends the ids of a piece to `out`. */
  encode(piece: string, out: number[]): void;
}
