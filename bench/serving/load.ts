import { noise } from "../../src/adapters/merge/testing/models.ts";
import type { Tokenizer } from "../../src/data/text/tokenizer.ts";

/** A request of the load. */
export interface LoadRequest {
  /** A number of the list of models. */
  readonly model: number;
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed: number;
  /** Its client leaves when it has so many tokens; undefined: never. */
  readonly leavesAfter: number | undefined;
}

export interface LoadOptions {
  readonly requests: number;
  readonly models: number;
  /** Tokens of prompts and of answers at most. */
  readonly longest: number;
  readonly answer: number;
  readonly seed: number;
}

const [SHORTEST_PROMPT, LEAVING, SHARED] = [10, 0.1, 0.25];
const [BEGINNINGS, BEGINNING_TOKENS] = [4, 200];
const WHO = ["the baker", "a sailor", "the old teacher", "her sister", "a tired clerk", "the youngest child"];
const DOES = ["carries", "finds", "paints", "sells", "remembers", "repairs", "counts", "hides"];
const WHAT = ["a red lamp", "twelve letters", "the broken clock", "a map of the coast", "some bread", "an empty box"];
const WHERE = ["near the harbor", "before the rain", "in the attic", "on the last train", "under the bridge"];

/**
 * Requests whose lengths are spread evenly over magnitudes, from few tokens to the most. A quarter of them begin like others do, as
 * chats with one system message. The same seed gives the same requests.
 */
export function makeLoad(
  tokenizer: Pick<Tokenizer, "encode">,
  { requests, models, longest, answer, seed }: LoadOptions,
): readonly LoadRequest[] {
  const draw = uniform(seed);
  const text = (tokens: number): readonly number[] => tokensOfText(tokenizer, tokens, draw);
  const beginnings = Array.from({ length: BEGINNINGS }, () => text(Math.min(BEGINNING_TOKENS, longest)));
  const between = (low: number, high: number): number => Math.round(low * (high / low) ** draw());
  return Array.from({ length: requests }, (_, number) => {
    const tokens = between(Math.min(SHORTEST_PROMPT, longest), longest);
    const shared = draw() < SHARED ? (beginnings[Math.floor(draw() * BEGINNINGS)] ?? []) : [];
    const maxTokens = between(1, answer);
    return {
      model: Math.floor(draw() * models),
      prompt: [...shared, ...text(tokens)].slice(0, tokens),
      maxTokens,
      temperature: number % 2,
      seed: Math.floor(1e6 * draw()),
      leavesAfter: draw() < LEAVING ? Math.floor(draw() * maxTokens) : undefined,
    };
  });
}

/** Tokens of a text that no other one begins like. @param draw numbers from 0 to 1 */
export function tokensOfText(
  tokenizer: Pick<Tokenizer, "encode">,
  tokens: number,
  draw: () => number,
): readonly number[] {
  const pick = (words: readonly string[]): string => words[Math.floor(draw() * words.length)] ?? "";
  const day = (): number => Math.floor(1e6 * draw());
  // Each of these sentences has more than six tokens.
  const sentence = (): string => `Day ${day()}: ${pick(WHO)} ${pick(DOES)} ${pick(WHAT)} ${pick(WHERE)}.`;
  const sentences = Array.from({ length: Math.ceil(tokens / 6) }, sentence);
  return tokenizer.encode(sentences.join(" ")).slice(0, tokens);
}

/** Seconds from the beginning at which so many requests arrive: a Poisson process. @param rate requests a second */
export function arrivals(count: number, rate: number, seed: number): readonly number[] {
  const draw = uniform(seed);
  let at = 0;
  return Array.from({ length: count }, () => (at -= Math.log(1 - draw()) / rate));
}

/** A repeatable source of numbers from 0 to 1, without 1. */
export function uniform(seed: number): () => number {
  const next = noise(seed);
  return () => Math.min((next() + 1) / 2, 1 - 2 ** -32);
}

/** The value below which a share of all lie. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}
