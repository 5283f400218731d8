import type { Decoder } from "../../models/decoder/decoder.ts";
import type { KvCache } from "../../models/decoder/cache/kv-cache.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import { type FinishReason, generate } from "./generate.ts";
import { ReplyText } from "./reply-text.ts";
import type { SamplingOptions } from "./sampling.ts";

/** Tokens that are computed between two looks at the signal: a second or two on a CPU, far less than one on a GPU. */
const SOFTWARE_BLOCK = 192;
const BLOCK = 512;

export interface ReplyOptions {
  readonly sampling: SamplingOptions;
  /** Tokens to make at most; undefined: up to the context's end. */
  readonly maxTokens?: number | undefined;
  /** Texts that end the answer; they are not part of it, and may span tokens. */
  readonly stops?: readonly string[];
  /** Positions that may be used; the model's own where nothing is said. */
  readonly context?: number | undefined;
  /** At the context's end, slide on instead of ending. */
  readonly shift?: boolean;
  /** Ends the answer at the next token, or between two blocks of the prompt; what there is is kept. */
  readonly signal?: AbortSignal;
  /** Gets the text as it becomes final; the pieces add up to the reply's. */
  readonly onText?: (text: string) => void;
}

/** A text that a model wrote. */
export interface Reply {
  readonly text: string;
  /** Its ids, without the token that ended it. */
  readonly tokens: readonly number[];
  readonly promptTokens: number;
  /** How many of the prompt's were in the cache already. */
  readonly cachedTokens: number;
  readonly finishReason: FinishReason | "cancelled";
  /** Seconds up to the first token, and from there on. */
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
}

/** What a reply is generated from. */
export interface Writer {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  readonly stopTokens: ReadonlySet<number>;
}

/**
 * Continues a prompt and hands the text out as it comes. The cache keeps what was computed; it belongs to the weights
 * that filled it, and is to be emptied when those change.
 * @param ids the whole prompt
 * @throws RandloraError `data` for a prompt that is empty or fills the context, `model` for ids that the model does not have
 */
export async function writeReply(
  { decoder, tokenizer, stopTokens }: Writer,
  cache: KvCache,
  ids: readonly number[],
  options: ReplyOptions,
): Promise<Reply> {
  const { sampling, shift = false, signal, onText, context = decoder.config.contextLength } = options;
  const written = new ReplyText(tokenizer, options.stops ?? [], onText);
  const cachedTokens = cache.keepCommon(ids);
  const start = performance.now();
  let first: number | undefined;
  const generation = generate(decoder, cache, ids, {
    sampling,
    maxTokens: options.maxTokens ?? Infinity,
    stopTokens,
    context,
    shift,
    // A chat template writes it itself.
    keep: ids[0] === (tokenizer.beginning ?? tokenizer.bos?.id) ? 1 : 0,
    ...(signal === undefined ? {} : { signal }),
  });
  let finishReason: Reply["finishReason"] = "stop";
  try {
    if (signal !== undefined && ids.length < context) await prefillInBlocks(decoder, cache, ids, signal);
    for (;;) {
      const { done, value } = await generation.next();
      first ??= performance.now();
      if (done === true) {
        finishReason = value;
        break;
      }
      if (written.push(value)) break;
    }
  } catch (error) {
    if (signal?.aborted !== true || error !== signal.reason) throw error;
    finishReason = "cancelled";
  } finally {
    await generation.return("stop");
    decoder.gpu.memory.dropUnused();
  }
  if (written.finish() && finishReason === "length") finishReason = "stop";
  const end = performance.now();
  return {
    text: written.text,
    tokens: written.tokens,
    promptTokens: ids.length,
    cachedTokens,
    finishReason,
    prefillSeconds: ((first ?? end) - start) / 1000,
    decodeSeconds: (end - (first ?? end)) / 1000,
  };
}

/**
 * Computes all but the last block of a prompt, waiting for the GPU after each: what is submitted cannot be taken back,
 * and whoever cancels should not have to wait for all of it.
 * @throws the signal's reason when it is aborted; the cache holds what was computed
 */
async function prefillInBlocks(
  decoder: Decoder,
  cache: KvCache,
  ids: readonly number[],
  signal: AbortSignal,
): Promise<void> {
  const { gpu } = decoder;
  const block = gpu.info.software ? SOFTWARE_BLOCK : BLOCK;
  while (ids.length - cache.length > block) {
    signal.throwIfAborted();
    const some = ids.slice(cache.length, cache.length + block);
    const hidden = await decoder.prefill(cache, some, { block, sequenceLength: ids.length });
    gpu.memory.release(hidden.buffer);
    await gpu.idle();
  }
  signal.throwIfAborted();
}

/** Tokens per second: of the prompt's that had to be computed, and of those that were written after the first. */
export function speeds(reply: Reply): { readonly prefill: number; readonly decode: number } {
  const { promptTokens, cachedTokens, tokens, prefillSeconds, decodeSeconds } = reply;
  const per = (count: number, seconds: number): number => (seconds > 0 && count > 0 ? count / seconds : 0);
  return {
    prefill: per(promptTokens - cachedTokens, prefillSeconds),
    decode: per(tokens.length - 1, decodeSeconds),
  };
}
