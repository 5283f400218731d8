/** Changes what a sequence may go on with, before a token is chosen: biases, or what a grammar allows. */
export interface LogitFilter {
  /** Finds out what `apply` needs beside logits, where that may take long; other work has its turn meanwhile. It never rejects. */
  prepare?(left: number): Promise<void>;
  /**
   * Changes the logits in place; −Infinity rules a token out.
   * @param left tokens that may still be made, this one counted
   * @throws RandloraError where nothing is left to choose from
   */
  apply(logits: Float32Array, left: number): void;
  /** Told of the token that was chosen. @returns whether the text ends with it */
  push(token: number): boolean;
}
