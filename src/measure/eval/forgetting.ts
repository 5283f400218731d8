import { join } from "node:path";
import { generateBatch } from "../../chat/generation/batch.ts";
import { DEFAULT_SAMPLING } from "../../chat/generation/sampling.ts";
import { ALONE, gatherComputed, ownRange } from "../../mpi/processes.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import { RandloraError } from "../../files/errors.ts";
import { readOptionalJsonObject } from "../../files/read-text.ts";
import type { Texts } from "./compare.ts";
import type { Perplexity } from "./perplexity.ts";

/** What an adapter costs on texts that it was not trained for, in nats a token. */
export interface Forgetting {
  /** Mean loss with the adapter less that of the base. Over texts that the base wrote: their Kullback-Leibler divergence, unbiased. */
  readonly mean: number;
  /** Its standard error, over texts; null for a single one. */
  readonly error: number | null;
}

/** @param adapted of the same texts as `base` */
export function forgettingOf(base: Perplexity, adapted: Perplexity): Forgetting {
  const mean = adapted.nll - base.nll;
  const texts = base.sums.length;
  // Tokens of a text depend on each other: what one text adds to the ratio of two sums counts once.
  const squares = base.sums.reduce((sum, { nll, tokens }, at) => {
    const more = (adapted.sums[at]?.nll ?? 0) - nll - mean * tokens;
    return sum + more * more;
  }, 0);
  const error = texts < 2 ? null : Math.sqrt((squares * texts) / (texts - 1)) / base.tokens;
  return { mean, error };
}

/** Tokens of a text that is drawn, where nothing is said. */
export const DRAWN_LENGTH = 256;

export interface Drawing {
  readonly count: number;
  /** Tokens of each, without the one that it begins with. */
  readonly length: number;
  readonly beginning: number;
  /** Of the first text; that of each further one is one more. */
  readonly seed: number;
}

/**
 * Texts as a model writes them by itself: at temperature 1, nothing cut, and on after an end of text, so that they are a
 * sample of its own distribution. Processes draw some each, and all have all of them.
 */
export function drawnTexts({ count, length, beginning, seed }: Drawing): Texts {
  return {
    count,
    size: length + 1,
    tokens: count * (length + 1),
    isDrawn: true,
    async ids(decoder, { processes = ALONE, signal, onTokens }) {
      const drawn = await gatherComputed(processes, async () => {
        const [from, end] = ownRange(processes, count);
        const texts: (readonly number[])[] = [];
        const prompts = Array.from({ length: end - from }, () => [beginning]);
        const sampling = { ...DEFAULT_SAMPLING, temperature: 1, topK: 0, topP: 1, minP: 0, seed: seed + from };
        // RoPE that is scaled bears more than the model's context.
        const options = { maxTokens: length, stopTokens: new Set<number>(), context: length + 1, sampling, signal };
        await generateBatch(decoder, prompts, options, ({ index, tokens }) => {
          texts[index] = tokens;
          onTokens?.(tokens.length);
        });
        return texts.flat();
      });
      if (drawn.length !== count * length) throw new Error(`${drawn.length} tokens of ${count} texts of ${length}`);
      return Array.from({ length: count }, (_, at) => [beginning, ...drawn.slice(at * length, (at + 1) * length)]);
    },
  };
}

/** The token that a text of this model begins with. @throws RandloraError `model` where neither tokenizer nor config.json names one */
export async function beginningOf(folder: string, tokenizer: Tokenizer): Promise<number> {
  const { bos_token_id: bos } = await readOptionalJsonObject(join(folder, "config.json"));
  const found = tokenizer.beginning ?? (typeof bos === "number" ? bos : tokenizer.eos?.id);
  if (found !== undefined) return found;
  const cause = "the model names no token that a text begins with, so that it cannot draw any";
  throw new RandloraError("model", cause, "give texts with --file");
}
