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

/** Adds a number to the logits of some tokens: OpenAI's `logit_bias`. @param biases by token */
export function logitBias(biases: ReadonlyMap<number, number>): LogitFilter {
  return {
    apply(logits) {
      for (const [id, bias] of biases) {
        const logit = logits[id];
        if (logit !== undefined) logits[id] = logit + bias;
      }
    },
    push: () => false,
  };
}

/** Several filters, one after another. @returns undefined for none */
export function inTurn(filters: readonly LogitFilter[]): LogitFilter | undefined {
  if (filters.length === 0) return undefined;
  return {
    prepare: async (left) => {
      for (const filter of filters) await filter.prepare?.(left);
    },
    apply: (logits, left) => {
      for (const filter of filters) filter.apply(logits, left);
    },
    // All are told, whatever the first ones say.
    push: (token) => filters.map((filter) => filter.push(token)).some(Boolean),
  };
}
