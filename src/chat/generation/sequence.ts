import type { BatchLogits } from "../../models/decoder/cache/batch-logits.ts";
import type { AdapterLinears } from "../../models/blocks/linears.ts";
import type { PromptLogits } from "../../models/decoder/prompt-scores.ts";
import type { NextBeam } from "./beam-search.ts";
import type { Outbox } from "./outbox.ts";

/** What is to be known of the tokens that may follow; see `BatchToken`. */
export interface Wants {
  readonly top: number;
  readonly all: boolean;
  readonly lse: boolean;
}

/** A sequence that a loop decodes, in one slot or in a slot for each beam. `T` is what comes of it, `R` its end. */
export interface Sequence<T = unknown, R = unknown> {
  /** What is computed before its first token; where it starts anew, another one. */
  readonly prompt: readonly number[];
  /** Slots that it takes. */
  readonly beams: number;
  /** Positions that it may come to need in each. */
  readonly positions: number;
  /** Positions without which it need not begin: the prompt's, and of as many tokens as were asked for. */
  readonly needed: number;
  /** Tokens of each beam that are known: the prompt, and what was made. */
  readonly known: number;
  tokenAt(beam: number, position: number): number;
  readonly wants: Wants;
  readonly signal: AbortSignal | undefined;
  /** Whose it is: what was computed for others is computed again, so that nobody can tell. */
  readonly owner: string;
  /** What it is computed with beside the weights; undefined: nothing. */
  readonly adapter: AdapterLinears | undefined;
  /** Of how many of the best tokens in the place of each of the prompt's it is to be told; undefined: of nothing. */
  readonly promptTop: number | undefined;
  /**
   * Takes the hidden states of the prompt's tokens from one on, (tokens, hidden), again where what was computed had to be given up. A
   * sequence with this one has all of its prompt computed by passes over prompts, and decodes nothing.
   */
  readonly takeHidden?: ((first: number, states: Float32Array) => void) | undefined;
  readonly out: Outbox<T, R>;
  /**
   * Told when the prompt has been computed, again where what was computed had to be given up.
   * @param cached how many of its tokens were computed before
   * @param logits what may follow on each of the prompt's tokens, where `promptTop` is given
   * @returns whether that was all
   */
  prompted(cached: number, logits: readonly PromptLogits[]): boolean;
  /** Finds out what `take` needs beside logits, while the device computes them. */
  prepare?(): Promise<void>;
  /**
   * Takes what follows on each of its beams, after the prompt on all of them alike.
   * @returns the tokens to go on with, by beam; "anew": it starts anew with another prompt; undefined: it has come to its end
   * @throws whatever ends this sequence, but not the others
   */
  take(rows: readonly BatchLogits[]): readonly NextBeam[] | "anew" | undefined;
}
