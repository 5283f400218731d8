import { checkBeams, type Hypothesis } from "./beam-search.ts";
import { checkPrompt } from "./next-token.ts";
import type { Reply, ReplyOptions, ReplyPiece, Writer } from "./reply.ts";
import { endOf } from "./outbox.ts";
import { ReplyText } from "./reply-text.ts";
import { BeamSequence } from "./beam-sequence.ts";
import type { DecodeLoop } from "./decode-loop.ts";

/** How a reply is searched for. */
export interface SearchReplyOptions extends Pick<ReplyOptions, "maxTokens" | "stops" | "context" | "signal"> {
  readonly beams: number;
}

/**
 * Continues a prompt with the best sequence of a beam search; a stop sequence cuts that afterwards. Nothing of it is shown before
 * the search is over.
 * @param loop for as many sequences as there are beams
 * @param ids the whole prompt
 * @throws RandloraError as `replySequence`; `memory` where the beams do not fit
 */
export async function* searchReply(
  { decoder, tokenizer, stopTokens }: Writer,
  loop: DecodeLoop,
  ids: readonly number[],
  { beams, signal, stops = [], ...options }: SearchReplyOptions,
): AsyncGenerator<ReplyPiece, Reply> {
  const { maxTokens = Infinity, context = decoder.config.contextLength } = options;
  checkPrompt(ids, context);
  decoder.checkIds(ids);
  checkBeams({ beams, stopTokens }, decoder.config.vocabularySize);
  const start = performance.now();
  let first: number | undefined;
  let best: Hypothesis | undefined;
  try {
    const sequence = new BeamSequence({ prompt: ids, beams, maxTokens, stopTokens, context, signal });
    best = await endOf(loop.write(sequence), () => void (first ??= performance.now()));
  } catch (error) {
    if (signal?.aborted !== true || error !== signal.reason) throw error;
  }
  const written = new ReplyText(tokenizer, stops);
  const stopped = best?.tokens.some((token) => written.push(token)) === true;
  const isCut = written.finish() || stopped;
  yield { text: written.takeNew() };
  const end = performance.now();
  return {
    text: written.text,
    tokens: written.tokens,
    promptTokens: ids.length,
    cachedTokens: 0,
    finishReason: best === undefined ? "cancelled" : best.stopped || isCut ? "stop" : "length",
    prefillSeconds: ((first ?? end) - start) / 1000,
    decodeSeconds: (end - (first ?? end)) / 1000,
  };
}
