import { MOST_TOP_K } from "../../compute/device/families/tokens.ts";
import { RandloraError } from "../../files/errors.ts";
import type { BatchLogits } from "../../models/decoder/cache/batch-pass.ts";
import { checkLogits } from "./next-token.ts";
import { type TextOptions, TextSequence, type Wants } from "./sequence.ts";

/** Far below every sum of log-probabilities: what transformers gives a beam that is none. */
const NONE = -1e9;

/** A token that may follow on a beam, with the logarithm of its probability. */
export interface Follower {
  readonly id: number;
  readonly logprob: number;
}

/** A text that ended, or would have gone on. */
export interface Hypothesis {
  readonly tokens: readonly number[];
  /** Σ log-probabilities / tokens, the end token counted in both. */
  readonly score: number;
  /** Did a stop token end it? It is not among `tokens`. */
  readonly stopped: boolean;
}

interface Beam {
  readonly tokens: readonly number[];
  readonly score: number;
}

export interface BeamSearchOptions {
  readonly beams: number;
  readonly maxTokens: number;
  readonly stopTokens: ReadonlySet<number>;
}

/** @throws RandloraError `usage` for more beams than can be told apart, or ranked */
export function checkBeams({ beams, stopTokens }: Omit<BeamSearchOptions, "maxTokens">, vocabulary: number): void {
  const most = Math.floor(Math.min(vocabulary, MOST_TOP_K) / followersOf(stopTokens));
  if (beams <= most) return;
  throw new RandloraError("usage", `${beams} beams are too many for this model`, `take at most ${most}`);
}

/** Followers of a beam of which, whatever stops, one does not. */
function followersOf(stopTokens: ReadonlySet<number>): number {
  return Math.max(2, 1 + stopTokens.size);
}

/**
 * Beam search as transformers 5 has it (`generation/utils.py`, `_beam_search` with do_sample=False,
 * early_stopping=False, length_penalty=1.0): of 2·beams continuations (more where several tokens stop) those that do not
 * end go on, those that end and are among the best `beams` compete with what ended before, by their mean
 * log-probability; it is over when the best running mean is below the worst of the ended ones, or at the last token.
 */
export class BeamSearch {
  readonly #options: BeamSearchOptions;
  #running: readonly Beam[];
  #ended: readonly Hypothesis[] = [];
  #length = 0;

  constructor(options: BeamSearchOptions) {
    this.#options = options;
    // All beams begin alike: only the first one's followers count.
    this.#running = Array.from({ length: options.beams }, (_, beam) => ({ tokens: [], score: beam === 0 ? 0 : NONE }));
  }

  /** Continuations that are looked at, of all beams together: so many followers of each are enough. */
  get width(): number {
    const { beams, stopTokens } = this.#options;
    return followersOf(stopTokens) * beams;
  }

  /**
   * Takes a step.
   * @param followers by beam: the best `width` tokens or all, best first
   * @returns of each beam of the next step, best first, the number of the one that it goes on from; undefined: it is over
   */
  step(followers: readonly (readonly Follower[])[]): readonly number[] | undefined {
    const { beams, maxTokens, stopTokens } = this.#options;
    this.#length += 1;
    const isLast = this.#length >= maxTokens;
    const candidates = this.#running
      .flatMap(({ tokens, score }, parent) =>
        (followers[parent] ?? []).map(({ id, logprob }) => ({ parent, id, tokens, score: score + logprob })),
      )
      .toSorted((left, right) => right.score - left.score) // stable: the lower beam, then the lower id first
      .slice(0, this.width)
      .map((candidate) => ({ ...candidate, ends: isLast || stopTokens.has(candidate.id) }));
    const ending = candidates.slice(0, beams).filter(({ ends }) => ends);
    this.#ended = [
      ...this.#ended,
      ...ending.map(({ tokens, id, score }) => {
        const stopped = stopTokens.has(id);
        return { tokens: stopped ? tokens : [...tokens, id], score: score / this.#length, stopped };
      }),
    ]
      .toSorted((left, right) => right.score - left.score)
      .slice(0, beams);
    const going = candidates.filter(({ ends }) => !ends).slice(0, beams);
    this.#running = going.map(({ tokens, id, score }) => ({ tokens: [...tokens, id], score }));
    if (going.length < beams || !this.#canImprove()) return undefined;
    return going.map(({ parent }) => parent);
  }

  /** What a beam has written so far. */
  tokensOf(beam: number): readonly number[] {
    return this.#running[beam]?.tokens ?? [];
  }

  /** The best text, when it is over. */
  get best(): Hypothesis {
    const [first] = this.#ended;
    if (first === undefined) throw new Error("a search that is not over");
    return first;
  }

  #canImprove(): boolean {
    const best = (this.#running[0]?.score ?? NONE) / this.#length;
    const worst = this.#ended.length < this.#options.beams ? NONE : (this.#ended.at(-1)?.score ?? NONE);
    return best > worst;
  }
}

interface SearchedOptions extends TextOptions {
  readonly beams: number;
}

/** The best sequence that a beam search finds: its tokens come when the search is over. */
export class BeamSequence extends TextSequence<SearchedOptions> {
  readonly wants: Wants;
  readonly #search: BeamSearch;
  #made = 0;

  constructor(options: SearchedOptions) {
    const { prompt, beams, stopTokens } = options;
    super(options, beams);
    this.#search = new BeamSearch({ beams, maxTokens: this.positions - prompt.length, stopTokens });
    this.wants = { top: this.#search.width, all: false, lse: true };
  }

  get known(): number {
    return this.prompt.length + this.#made;
  }

  tokenAt(beam: number, position: number): number {
    const { prompt } = this;
    return prompt[position] ?? this.#search.tokensOf(beam)[position - prompt.length] ?? NaN;
  }

  take(rows: readonly BatchLogits[]): readonly number[] | undefined {
    const length = this.prompt.length + this.#made++;
    const followers = rows.map(({ ids, logits, lse = NaN }) => {
      checkLogits(logits, length);
      return Array.from(ids.subarray(0, this.wants.top), (id, at) => ({ id, logprob: (logits[at] ?? NaN) - lse }));
    });
    const next = this.#search.step(followers);
    if (next !== undefined) return next;
    const { tokens, stopped, score } = this.#search.best;
    for (const id of tokens) this.out.push({ kind: "token", id, logprobs: undefined });
    this.out.end({ reason: stopped ? "stop" : "length", stop: undefined, score });
    return undefined;
  }
}
