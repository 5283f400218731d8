import { inBlocks } from "../../models/decoder/cache/slot-pool.ts";
import { checkBeams, type Hypothesis } from "./beam-search.ts";
import { checkPrompt } from "./generate.ts";
import type { Reply, ReplyOptions, Writer } from "./reply.ts";
import { ReplyText } from "./reply-text.ts";
import { BeamSequence } from "./sequence.ts";
import { DecodeLoop, tooLarge } from "./decode-loop.ts";
import { fittingPositions } from "./fitting-context.ts";

/** How a reply is searched for. Nothing of it is shown before the search is over. */
export interface SearchReplyOptions extends Pick<
  ReplyOptions,
  "maxTokens" | "stops" | "context" | "signal" | "onText"
> {
  readonly beams: number;
}

/**
 * Continues a prompt with the best sequence of a beam search; a stop sequence cuts that afterwards.
 * @param ids the whole prompt
 * @throws RandloraError as `writeReply`; `memory` where the beams do not fit
 */
export async function searchReply(
  { decoder, tokenizer, stopTokens }: Writer,
  ids: readonly number[],
  { beams, signal, stops = [], onText, ...options }: SearchReplyOptions,
): Promise<Reply> {
  const { maxTokens = Infinity, context = decoder.config.contextLength } = options;
  checkPrompt(ids, context);
  decoder.checkIds(ids);
  checkBeams({ beams, stopTokens }, decoder.config.vocabularySize);
  const start = performance.now();
  let first: number | undefined;
  let best: Hypothesis | undefined;
  const failures: unknown[] = [];
  const sequence = new BeamSequence({
    prompt: ids,
    beams,
    maxTokens,
    stopTokens,
    context,
    signal,
    onPrompted: () => void (first = performance.now()),
    onEnd: (found) => void (best = found),
    onFail: (reason) => void failures.push(reason),
  });
  const { positions } = await fittingPositions(decoder, beams);
  const wanted = beams * inBlocks(sequence.positions);
  using loop = new DecodeLoop(decoder, { rows: beams, positions: Math.min(wanted, positions) });
  if (!(await loop.begin(sequence))) throw tooLarge(sequence);
  while (loop.size > 0) await loop.turn();
  const [failure] = failures;
  if (failures.length > 0 && (signal?.aborted !== true || failure !== signal.reason)) throw failure;
  const written = new ReplyText(tokenizer, stops, onText);
  const stopped = best?.tokens.some((token) => written.push(token)) === true;
  const isCut = written.finish() || stopped;
  const end = performance.now();
  const finishReason = best === undefined ? "cancelled" : best.stopped || isCut ? "stop" : "length";
  return {
    text: written.text,
    tokens: written.tokens,
    promptTokens: ids.length,
    cachedTokens: 0,
    finishReason,
    prefillSeconds: ((first ?? end) - start) / 1000,
    decodeSeconds: (end - (first ?? end)) / 1000,
  };
}
