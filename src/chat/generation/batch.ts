import type { Decoder } from "../../models/decoder/decoder.ts";
import { inBlocks } from "../../models/decoder/cache/layer-cache.ts";
import { RandloraError } from "../../files/errors.ts";
import { BeamSequence, checkBeams } from "./beam-search.ts";
import { checkPrompt, type FinishReason } from "./next-token.ts";
import { DEFAULT_SAMPLING, type SamplingOptions } from "./sampling.ts";
import { DecodeLoop } from "./decode-loop.ts";
import { fittingPositions } from "./fitting-context.ts";
import { endOf } from "./sequence.ts";
import { SampledSequence } from "./sampled-sequence.ts";

/** Prompts that are decoded together where nothing is said. */
const BATCH_SIZE = 8;

/** What came of one prompt. */
export interface BatchAnswer {
  /** The prompt's number. */
  readonly index: number;
  /** Without the token that ended it. */
  readonly tokens: readonly number[];
  readonly finishReason: FinishReason;
  /** Of a beam search: Σ log-probabilities / tokens, as transformers' `sequences_scores`. */
  readonly score: number | undefined;
}

export interface BatchOptions {
  /** 1, the default: by `sampling`. Above: the best sequence of a beam search, see `BeamSearch`. */
  readonly beams?: number;
  /** Tokens of each answer at most, at least 1. */
  readonly maxTokens: number;
  /** Tokens that end an answer. */
  readonly stopTokens: ReadonlySet<number>;
  /** Prompts that are decoded together; 8 by default. */
  readonly batchSize?: number;
  /** Greedy by default. The seed is the first prompt's; that of each further one is one more. */
  readonly sampling?: SamplingOptions | undefined;
  /** Positions that may be used; the model's own by default. */
  readonly context?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Continues many prompts, several at a time: a finished one's place is taken by the next. What is answered depends on the
 * prompt, the options and (in rounding) the size of the batch, but not on the other prompts or their order.
 * @param onAnswer told of each answer, in the order in which they end
 * @throws RandloraError `data`, before anything is computed, for a prompt that is empty or fills the context; `usage` for
 *   options that make no sense; `numeric`, `memory`, `gpu`; the signal's reason when it is aborted; what `onAnswer` throws
 */
export async function generateBatch(
  decoder: Decoder,
  prompts: readonly (readonly number[])[],
  options: BatchOptions,
  onAnswer: (answer: BatchAnswer) => void | Promise<void>,
): Promise<void> {
  const {
    beams = 1,
    maxTokens,
    batchSize = BATCH_SIZE,
    sampling,
    signal,
    context = decoder.config.contextLength,
  } = options;
  checkCount("beams", beams);
  checkCount("maxTokens", maxTokens);
  checkCount("batchSize", batchSize);
  for (const prompt of prompts) {
    checkPrompt(prompt, context);
    decoder.checkIds(prompt);
  }
  if (beams > 1) checkBeams({ beams, stopTokens: options.stopTokens }, decoder.config.vocabularySize);
  const longest = prompts.reduce((most, { length }) => Math.max(most, Math.min(length + maxTokens, context)), 1);
  const rows = batchSize * beams;
  const { positions } = await fittingPositions(decoder, rows);
  using loop = new DecodeLoop(decoder, {
    rows,
    positions: Math.min(rows * inBlocks(longest), positions),
    promptsFirst: true,
  });
  // One that fails ends the others, which are waited for.
  const stop = new AbortController();
  const stopped = AbortSignal.any([stop.signal, ...(signal === undefined ? [] : [signal])]);
  const numbers = prompts.keys();
  let told: Promise<void> = Promise.resolve();
  const takeSome = async (): Promise<void> => {
    for (const index of numbers) {
      stopped.throwIfAborted();
      const answer = await answerOf(loop, prompts[index] ?? [], {
        ...options,
        sampling: sampling && { ...sampling, seed: sampling.seed + index },
        context,
        signal: stopped,
      });
      await (told = told.then(() => onAnswer({ index, ...answer })));
    }
  };
  const tasks = Array.from({ length: batchSize }, () => takeSome().catch((error: unknown) => stop.abort(error)));
  await Promise.all(tasks);
  stopped.throwIfAborted();
}

async function answerOf(
  loop: DecodeLoop,
  prompt: readonly number[],
  { beams = 1, sampling, maxTokens, stopTokens, signal, context }: BatchOptions & { readonly context: number },
): Promise<Omit<BatchAnswer, "index">> {
  const text = { prompt, maxTokens, stopTokens, context, signal };
  const sequence =
    beams > 1
      ? new BeamSequence({ ...text, beams })
      : new SampledSequence({ ...text, sampling: sampling ?? { ...DEFAULT_SAMPLING, temperature: 0 } });
  const tokens: number[] = [];
  const { reason, score } = await endOf(loop.write(sequence), (item) => {
    if (item.kind === "token") tokens.push(item.id);
  });
  return { tokens, finishReason: reason, score };
}

function checkCount(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value > 0) return;
  throw new RandloraError("usage", `${name} is ${value}; it must be a whole number, 1 or more`);
}
