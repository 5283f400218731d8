import type { LogitFilter } from "./logit-filter.ts";

/** Adds a number to the logits of some tokens: OpenAI's `logit_bias`. */
export class LogitBias implements LogitFilter {
  readonly #biases: ReadonlyMap<number, number>;

  /** @param biases by token */
  constructor(biases: ReadonlyMap<number, number>) {
    this.#biases = biases;
  }

  apply(logits: Float32Array): void {
    for (const [id, bias] of this.#biases) {
      const logit = logits[id];
      if (logit !== undefined) logits[id] = logit + bias;
    }
  }

  push(): boolean {
    return false;
  }
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
