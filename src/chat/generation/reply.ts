import type { PromptLogits } from "../../models/decoder/prompt-scores.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import { checkPrompt, type FinishReason, type WrittenLogprob } from "./next-token.ts";
import { BeamSequence, checkBeams } from "./beam-search.ts";
import { type SampledOptions, SampledSequence } from "./sampled-sequence.ts";
import type { TextEnd, TextItem } from "./sequence.ts";
import { type Detokenizer, StopMatcher, type StopResult } from "../../data/text/detokenizer.ts";
import { HARMONY, MARK, markOf } from "../../data/text/harmony.ts";

export interface ReplyOptions extends Pick<
  SampledOptions,
  "sampling" | "filter" | "shift" | "owner" | "adapter" | "topLogprobs"
> {
  /** Above 1, the default: the best sequence of a beam search, which nothing is shown of before it is over; a stop text cuts it afterwards. */
  readonly beams?: number | undefined;
  /** Special tokens that are part of the text, such as those around a call of a tool, and what it has for them. */
  readonly shownTokens?: ReadonlyMap<number, string> | undefined;
  /** Tokens to make at most; undefined: up to the context's end. */
  readonly maxTokens?: number | undefined;
  /** Texts that end the answer; they are not part of it, and may span tokens. */
  readonly stops?: readonly string[];
  /** Positions that may be used; the model's own where nothing is said. */
  readonly context?: number | undefined;
  /** Ends the answer at the next token, or between two pieces of the prompt; what there is is kept. */
  readonly signal?: AbortSignal | undefined;
  /** Name this many of the best tokens in the place of each of the prompt's, and how likely that was. */
  readonly promptLogprobs?: number | undefined;
}

/** A text that a model wrote. */
export interface Reply {
  readonly text: string;
  /** Its ids, without the token that ended it. */
  readonly tokens: readonly number[];
  /** Where the text of each begins, in UTF-16 units. */
  readonly offsets: readonly number[];
  readonly promptTokens: number;
  /** How many of the prompt's were in the cache already. */
  readonly cachedTokens: number;
  readonly finishReason: FinishReason | "cancelled";
  /** Seconds up to the first token, and from there on. */
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
  /** The stop token that ended it, where `topLogprobs` is given. */
  readonly stop?: WrittenLogprob | undefined;
}

/** A token of a reply. */
export interface ReplyToken extends WrittenLogprob {
  /** Where its text begins in the reply's, in UTF-16 units; after a stop text was found, behind the reply's end. */
  readonly offset: number;
}

/** A token of a prompt; nothing is known of the first one's probability. */
export type PromptToken = Omit<WrittenLogprob, "logprob"> & { readonly logprob: number | undefined };

/** Some of a reply as it comes. */
export interface ReplyPiece {
  /** Text that is final: the pieces' add up to the reply's. */
  readonly text: string;
  /** It came of one token more; its text may come later. */
  readonly isToken?: boolean;
  /** That token, where `topLogprobs` is given. */
  readonly token?: ReplyToken | undefined;
  /** In the first piece, when the prompt has been computed: its tokens, where `promptLogprobs` is given. */
  readonly prompt?: readonly PromptToken[] | undefined;
}

/** What a reply is generated from. */
export interface Writer {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  readonly stopTokens: ReadonlySet<number>;
}

/**
 * The sequence of tokens that a reply consists of.
 * @param ids the whole prompt
 * @throws RandloraError `data` for a prompt that is empty or fills the context, `model` for ids that the model does not have,
 *   `usage` for sampling options that make no sense, or too many beams
 */
export function replySequence(
  { decoder, tokenizer, stopTokens }: Writer,
  ids: readonly number[],
  { context = decoder.config.contextLength, maxTokens = Infinity, beams = 1, promptLogprobs, ...options }: ReplyOptions,
): SampledSequence | BeamSequence {
  checkPrompt(ids, context);
  decoder.checkIds(ids);
  if (beams > 1) {
    checkBeams({ beams, stopTokens }, decoder.config.vocabularySize);
    return new BeamSequence({ ...options, prompt: ids, beams, maxTokens, stopTokens, context });
  }
  // A chat template writes the token that texts begin with itself.
  const keep = ids[0] === (tokenizer.beginning ?? tokenizer.bos?.id) ? 1 : 0;
  return new SampledSequence({
    ...options,
    prompt: ids,
    context,
    maxTokens,
    stopTokens,
    keep,
    promptTop: promptLogprobs,
  });
}

/**
 * Hands out the text of a sequence's tokens as it comes.
 * @param ids the whole prompt
 * @param tokens what comes of `replySequence`
 * @param start when its turn came, as `performance.now` counts
 * @throws what the tokens end with; but where the signal ends them, what there is is the reply
 */
export async function* writeReply(
  { tokenizer }: Pick<Writer, "tokenizer">,
  ids: readonly number[],
  { stops = [], shownTokens, signal, beams = 1, promptLogprobs }: ReplyOptions,
  tokens: AsyncGenerator<TextItem, TextEnd>,
  start = performance.now(),
): AsyncGenerator<ReplyPiece, Reply> {
  const written = new ReplyText(tokenizer, stops, shownTokens);
  let [first, cachedTokens]: [number | undefined, number] = [undefined, 0];
  let [finishReason, stop]: [Reply["finishReason"], WrittenLogprob | undefined] = ["stop", undefined];
  try {
    for (;;) {
      const { done, value } = await tokens.next();
      if (done === true) {
        [finishReason, stop] = [value.reason, value.stop];
        break;
      }
      if (value.kind === "prompt") {
        cachedTokens = value.cached;
        if (beams > 1) first = performance.now();
        yield { text: "", prompt: promptLogprobs === undefined ? [] : promptTokens(ids, value.logits, promptLogprobs) };
        continue;
      }
      first ??= performance.now();
      const { offset } = written;
      const isOver = written.push(value.id);
      yield { text: written.takeNew(), isToken: true, token: value.logprobs && { ...value.logprobs, offset } };
      if (isOver) break;
    }
  } catch (error) {
    if (signal?.aborted !== true || error !== signal.reason) throw error;
    finishReason = "cancelled";
  } finally {
    await tokens.return({ reason: "stop", stop: undefined });
  }
  const end = performance.now();
  if (written.finish() && finishReason === "length") finishReason = "stop";
  const rest = written.takeNew();
  if (rest !== "") yield { text: rest };
  return {
    text: written.text,
    tokens: written.tokens,
    offsets: written.offsets,
    promptTokens: ids.length,
    cachedTokens,
    finishReason,
    prefillSeconds: ((first ?? end) - start) / 1000,
    decodeSeconds: (end - (first ?? end)) / 1000,
    stop,
  };
}

/** The tokens of a prompt with what might have stood in their place. */
function promptTokens(ids: readonly number[], logits: readonly PromptLogits[], count: number): PromptToken[] {
  return ids.map((id, at) => {
    const before = logits[at - 1];
    if (before === undefined) return { id, logprob: undefined, top: [] };
    const top = Array.from(before.ids, (best, n) => ({ id: best, logprob: before.logprobs[n] ?? NaN }));
    // Where a token is among the best, it has the very number that stands there.
    const logprob = top.find((one) => one.id === id)?.logprob ?? before.own;
    return { id, logprob, top: top.slice(0, count) };
  });
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

/** The text that a reply's tokens make, as far as it is final: what may become a stop text is held back. */
export class ReplyText {
  readonly tokens: number[] = [];
  /** Where the text of each begins, in UTF-16 units. */
  readonly offsets: number[] = [];
  readonly #tokenizer: Tokenizer;
  readonly #shown: ReadonlyMap<number, string>;
  #detokenizer: Detokenizer;
  /** What comes is no text but the header of a message. */
  #isHeader = false;
  readonly #matcher: StopMatcher;
  #text = "";
  #taken = 0;
  #decoded = 0;

  /** @param shown special tokens that are text all the same, and which */
  constructor(tokenizer: Tokenizer, stops: readonly string[], shown: ReadonlyMap<number, string> = new Map()) {
    this.#tokenizer = tokenizer;
    this.#shown = shown;
    this.#detokenizer = tokenizer.detokenizer({ skipSpecial: true });
    this.#matcher = new StopMatcher(stops);
  }

  /** What is final. */
  get text(): string {
    return this.#text;
  }

  /** What has become final since it was last taken. */
  takeNew(): string {
    const piece = this.#text.slice(this.#taken);
    this.#taken = this.#text.length;
    return piece;
  }

  /** Where the next token's text begins, in UTF-16 units. */
  get offset(): number {
    return this.#decoded + this.#detokenizer.held;
  }

  /** Takes a token. @returns whether a stop text has been found */
  push(token: number): boolean {
    this.offsets.push(this.offset);
    this.tokens.push(token);
    const more = this.#textOf(token);
    this.#decoded += more.length;
    if (!this.#isHeader) return this.#add(this.#matcher.push(more));
    return this.#add(this.#matcher.flush()) || this.#add({ text: more, stopped: undefined });
  }

  /** @returns whether a stop text has been found */
  #add({ text, stopped }: StopResult): boolean {
    this.#text += text;
    return stopped !== undefined;
  }

  #textOf(token: number): string {
    const mark = this.#shown.get(token);
    if (mark === undefined) return this.#detokenizer.push(token);
    if (MARK.test(mark)) this.#isHeader = mark !== markOf(HARMONY.message);
    // What follows is a text of its own.
    const before = this.#detokenizer.flush();
    this.#detokenizer = this.#tokenizer.detokenizer({ skipSpecial: true });
    return before + mark;
  }

  /** Makes final what was held back: no more tokens come. @returns whether a stop text has been found in it */
  finish(): boolean {
    const ending = [this.#matcher.push(this.#detokenizer.flush()), this.#matcher.flush()];
    for (const { text } of ending) this.#text += text;
    return ending.some(({ stopped }) => stopped !== undefined);
  }
}
