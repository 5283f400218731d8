import type { Decoder } from "../../models/decoder/decoder.ts";
import { inBlocks } from "../../models/decoder/cache/slot-pool.ts";
import { RandloraError } from "../../files/errors.ts";
import { checkBeams } from "./beam-search.ts";
import { checkPrompt, type FinishReason } from "./generate.ts";
import { checkSampling, DEFAULT_SAMPLING, type SamplingOptions } from "./sampling.ts";
import { DecodeLoop, tooLarge } from "./decode-loop.ts";
import { fittingPositions } from "./fitting-context.ts";
import { SampledSequence, BeamSequence, type Sequence } from "./sequence.ts";

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
  /** Greedy by default. All answers have the same seed. */
  readonly sampling?: SamplingOptions;
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
  const { beams = 1, maxTokens, batchSize = BATCH_SIZE, signal, context = decoder.config.contextLength } = options;
  checkCount("beams", beams);
  checkCount("maxTokens", maxTokens);
  checkCount("batchSize", batchSize);
  for (const prompt of prompts) {
    checkPrompt(prompt, context);
    decoder.checkIds(prompt);
  }
  if (beams > 1) checkBeams({ beams, stopTokens: options.stopTokens }, decoder.config.vocabularySize);
  const answers: BatchAnswer[] = [];
  const failures: unknown[] = [];
  const write = (index: number): Sequence =>
    sequenceOf(
      prompts[index] ?? [],
      { ...options, context },
      {
        onEnd: (answer) => void answers.push({ index, ...answer }),
        onFail: (reason) => void failures.push(reason),
      },
    );
  const longest = prompts.reduce((most, { length }) => Math.max(most, Math.min(length + maxTokens, context)), 1);
  const rows = batchSize * beams;
  const { positions } = await fittingPositions(decoder, rows);
  using loop = new DecodeLoop(decoder, { rows, positions: Math.min(rows * inBlocks(longest), positions) });
  let next = 0;
  let waiting: Sequence | undefined;
  for (;;) {
    signal?.throwIfAborted();
    while (next < prompts.length || waiting !== undefined) {
      waiting ??= write(next++);
      if (!(await loop.begin(waiting))) break;
      waiting = undefined;
    }
    if (loop.size === 0) break;
    await loop.turn({ promptsFirst: true });
    const [failure] = failures;
    if (failures.length > 0) throw failure;
    for (const answer of answers.splice(0)) await onAnswer(answer);
  }
  if (waiting !== undefined) throw tooLarge(waiting);
}

interface Told {
  readonly onEnd: (answer: Omit<BatchAnswer, "index">) => void;
  readonly onFail: (reason: unknown) => void;
}

function sequenceOf(
  prompt: readonly number[],
  { beams = 1, maxTokens, stopTokens, signal, sampling, context }: BatchOptions & { readonly context: number },
  { onEnd, onFail }: Told,
): Sequence {
  const common = { prompt, maxTokens, stopTokens, context, signal, onFail };
  if (beams > 1) {
    const onBest = ({ tokens, stopped, score }: { tokens: readonly number[]; stopped: boolean; score: number }) =>
      onEnd({ tokens, finishReason: stopped ? "stop" : "length", score });
    return new BeamSequence({ ...common, beams, onEnd: onBest });
  }
  const tokens: number[] = [];
  return new SampledSequence({
    ...common,
    sampling: checkSampling(sampling ?? { ...DEFAULT_SAMPLING, temperature: 0 }),
    onToken: (token) => {
      tokens.push(token);
      return false;
    },
    onEnd: (finishReason) => onEnd({ tokens, finishReason, score: undefined }),
  });
}

function checkCount(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value > 0) return;
  throw new RandloraError("usage", `${name} is ${value}; it must be a whole number, 1 or more`);
}
