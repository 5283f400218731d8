import type { PromptLogits } from "../../models/decoder/prompt-scores.ts";
import type { FinishReason } from "./generate.ts";
import type { WrittenLogprob } from "./logprobs.ts";
import type { Reply, ReplyOptions, Writer } from "./reply.ts";
import { ReplyText } from "./reply-text.ts";
import { SampledSequence, type Sequence } from "./sequence.ts";

/** How a reply is decoded in a batch; the context is not shifted at its end. */
export interface SharedReplyOptions extends Omit<ReplyOptions, "shift"> {
  readonly signal: AbortSignal;
  /** Name this many of the best tokens with each one; 0: only the token itself. */
  readonly topLogprobs?: number | undefined;
  /** Told of each token as it is made, before its text, where `topLogprobs` is given. */
  readonly onToken?: ((token: ReplyToken) => void) | undefined;
  /** Name this many of the best tokens in the place of each of the prompt's, and how likely that was. */
  readonly promptLogprobs?: number | undefined;
  /** Told the prompt's tokens (see `SharedReply`) when the prompt has been computed, before any text comes. */
  readonly onPrompt?: ((prompt: readonly PromptToken[]) => void) | undefined;
}

/** A reply that came to its end. */
export interface SharedReply extends Reply {
  readonly finishReason: FinishReason;
  /** The prompt's tokens, where `promptLogprobs` is given. */
  readonly prompt: readonly PromptToken[];
  /** The stop token that ended it, where `topLogprobs` is given. */
  readonly stop: WrittenLogprob | undefined;
}

/** A token of a reply. */
export interface ReplyToken extends WrittenLogprob {
  /** Where its text begins in the reply's, in UTF-16 units; after a stop text was found, behind the reply's end. */
  readonly offset: number;
}

/** A token of a prompt; nothing is known of the first one's probability. */
export type PromptToken = Omit<WrittenLogprob, "logprob"> & { readonly logprob: number | undefined };

/** A reply that a `DecodeLoop` is generating. */
export interface PendingReply {
  readonly sequence: Sequence;
  /** Told when it begins. */
  begin(): void;
  /** Rejects with the signal's reason, or what failed. */
  readonly reply: Promise<SharedReply>;
}

/**
 * A reply to a prompt, for decoding in a batch: the same text that `writeReply` gives.
 * @param ids the whole prompt, not empty and shorter than the context
 * @throws RandloraError `usage` for sampling options that make no sense
 */
export function shareReply(
  { decoder, tokenizer, stopTokens }: Writer,
  ids: readonly number[],
  options: SharedReplyOptions,
): PendingReply {
  const { context = decoder.config.contextLength, topLogprobs, promptLogprobs, onToken } = options;
  const written = new ReplyText(tokenizer, options.stops ?? [], options.onText);
  const { promise, resolve, reject } = Promise.withResolvers<SharedReply>();
  const prompt: PromptToken[] =
    promptLogprobs === undefined ? [] : [{ id: ids[0] ?? NaN, logprob: undefined, top: [] }];
  let cachedTokens = 0;
  let start = performance.now();
  let first: number | undefined;
  const finish = (reason: FinishReason, stop?: WrittenLogprob): void => {
    const finishReason = written.finish() && reason === "length" ? "stop" : reason;
    const end = performance.now();
    resolve({
      text: written.text,
      tokens: written.tokens,
      promptTokens: ids.length,
      cachedTokens,
      finishReason,
      prefillSeconds: ((first ?? end) - start) / 1000,
      decodeSeconds: (end - (first ?? end)) / 1000,
      prompt,
      stop,
    });
  };
  const sequence = new SampledSequence({
    prompt: ids,
    sampling: options.sampling,
    maxTokens: options.maxTokens ?? Infinity,
    stopTokens,
    context,
    signal: options.signal,
    topLogprobs,
    onLogprobs: (token) => onToken?.({ ...token, offset: written.offset }),
    onToken: (token) => {
      first ??= performance.now();
      return written.push(token);
    },
    onEnd: finish,
    onFail: reject,
    onPrompted: (cached) => {
      cachedTokens = cached;
      options.onPrompt?.(prompt);
    },
    promptTop: promptLogprobs,
    onPromptLogits: (logits) =>
      prompt.push(...logits.map((one, at) => ofPrompt(one, ids[prompt.length + at], promptLogprobs ?? 0))),
  });
  return {
    sequence,
    begin() {
      start = performance.now();
    },
    reply: promise,
  };
}

/** Where a token is among the best, it has the very number that stands there. */
function ofPrompt({ ids, logprobs, own }: PromptLogits, id = NaN, count: number): WrittenLogprob {
  const top = Array.from(ids, (id, at) => ({ id, logprob: logprobs[at] ?? NaN }));
  const logprob = top.find((one) => one.id === id)?.logprob ?? own;
  return { id, logprob, top: top.slice(0, count) };
}
