import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { BeamSearch, type Follower } from "./beam-search.ts";

/** A made-up language: the logarithms of probabilities of all tokens after some others. */
type Language = (tokens: readonly number[]) => readonly number[];

/** Logits are a hash of what was said. */
function language(seed: number, vocabulary: number, spread: number): Language {
  return (tokens) => {
    const logits = Array.from({ length: vocabulary }, (_, id) => {
      let hash = seed ^ 0x9e3779b9;
      for (const token of [...tokens, id]) hash = Math.imul(hash ^ (token + 1), 0x85ebca6b) ^ (hash >>> 13);
      return (((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32) * spread;
    });
    const lse = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
    return logits.map((logit) => logit - lse);
  };
}

interface Settings {
  readonly beams: number;
  readonly maxTokens: number;
  readonly stops: readonly number[];
}

function search(of: Language, { beams, maxTokens, stops }: Settings) {
  const state = new BeamSearch({ beams, maxTokens, stopTokens: new Set(stops) });
  let texts: number[][] = Array.from({ length: beams }, () => []);
  for (;;) {
    const followers = texts.map((text): Follower[] =>
      of(text)
        .map((logprob, id) => ({ id, logprob }))
        .toSorted((left, right) => right.logprob - left.logprob)
        .slice(0, state.width),
    );
    const next = state.step(followers);
    if (next === undefined) return state.best;
    expect(next).toHaveLength(beams);
    const made = next.map((_, beam) => [...state.tokensOf(beam)]);
    expect(made.map((text) => text.slice(0, -1))).toEqual(next.map((parent) => texts[parent] ?? []));
    texts = made;
    expect(new Set(texts.map(String)).size).toBe(beams);
  }
}

/** transformers' tensors, with the whole vocabulary: `_beam_search` line by line, scores of -1e9 for what does not count. */
function reference(of: Language, { beams, maxTokens, stops }: Settings) {
  const keep = Math.max(2, 1 + stops.length) * beams;
  let running = Array.from({ length: beams }, (_, beam) => ({ text: [] as number[], score: beam === 0 ? 0 : -1e9 }));
  let done = Array.from({ length: beams }, () => ({ text: [] as number[], score: -1e9, finished: false }));
  let improvable = true;
  const top = <T extends { score: number }>(all: T[], count: number): T[] =>
    all.toSorted((left, right) => right.score - left.score).slice(0, count);
  for (let length = 1; ; length++) {
    const all = running.flatMap(({ text, score }) =>
      of(text).map((logprob, id) => ({ text: [...text, id], score: score + logprob })),
    );
    const best = top(all, keep).map((one) => ({
      ...one,
      hits: length === maxTokens || stops.includes(one.text.at(-1) ?? -1),
    }));
    running = top(
      best.map(({ text, score, hits }) => ({ text, score: hits ? score - 1e9 : score })),
      beams,
    );
    const merged = best.map(({ text, score, hits }, at) => {
      const finished = hits && at < beams;
      return { text, score: score / length - (improvable ? 0 : 1e9) - (finished ? 0 : 1e9), finished };
    });
    done = top([...done, ...merged], beams);
    const worst = Math.min(...done.map(({ score }) => score));
    improvable &&= done.some(({ finished }) => (running[0]?.score ?? 0) / length > (finished ? worst : -1e9));
    if (!improvable || best.every(({ hits }) => hits)) break;
  }
  const [first] = done;
  if (first === undefined) throw new Error("no text");
  const stopped = stops.includes(first.text.at(-1) ?? -1);
  return { tokens: stopped ? first.text.slice(0, -1) : first.text, score: first.score, stopped };
}

describe("beam search", () => {
  test("is transformers', whatever the language", () => {
    const settings = fc.record({
      seed: fc.integer({ min: 0, max: 2 ** 30 }),
      vocabulary: fc.integer({ min: 16, max: 40 }),
      spread: fc.constantFrom(0.5, 2, 6, 20),
      beams: fc.integer({ min: 1, max: 5 }),
      maxTokens: fc.integer({ min: 1, max: 9 }),
      stops: fc.uniqueArray(fc.integer({ min: 0, max: 15 }), { maxLength: 2 }),
    });
    const seen = { stopped: 0, long: 0 };
    fc.assert(
      fc.property(settings, ({ seed, vocabulary, spread, ...rest }) => {
        const of = language(seed, vocabulary, spread);
        const found = search(of, rest);
        const wanted = reference(of, rest);
        seen.stopped += Number(found.stopped);
        seen.long += Number(!found.stopped);
        expect(found).toEqual({ ...wanted, score: expect.closeTo(wanted.score, 9) });
      }),
      { numRuns: 300 },
    );
    expect(Math.min(seen.stopped, seen.long)).toBeGreaterThan(10);
  });

  test("finds what greedy search passes by", () => {
    // Greedy goes to 0, after which nothing is likely; the likely text begins with 1.
    const of: Language = (tokens) => {
      if (tokens.length === 0) return [0.6, 0.4, 1e-9, 1e-9].map(Math.log);
      return (tokens[0] === 0 ? [0.25, 0.25, 0.25, 0.25] : [1e-9, 1e-9, 1, 1e-9]).map(Math.log);
    };
    const one = search(of, { beams: 1, maxTokens: 3, stops: [] });
    const two = search(of, { beams: 2, maxTokens: 3, stops: [] });
    expect(one.tokens[0]).toBe(0);
    expect(two.tokens).toEqual([1, 2, 2]);
    expect(two.score).toBeCloseTo(Math.log(0.4) / 3, 6);
  });
});
