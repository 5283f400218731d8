import type { Batch, PromptPiece } from "../../models/decoder/cache/batch.ts";
import { PROMPT_BLOCK } from "../../models/decoder/cache/layer-cache.ts";
import type { Active, Line } from "./line.ts";
import { inCommon } from "./kept-slots.ts";
import type { SlotAllocation } from "./slot-allocation.ts";

/** As many tokens at a prompt's end are read with those before them: a pass of their own would take far longer. */
export const FEW = 16;

/** Tokens of a prompt that the next pass computes; none where others held all of it. */
export interface Piece extends PromptPiece {
  readonly active: Active;
  /** The first of them, and the one behind the last. */
  readonly first: number;
  readonly end: number;
  /** The prompt ends with it, and the pass decodes its last token, too. */
  readonly goesOn: boolean;
}

/** Whose prompt is read next, and how far. No text depends on it. */
export class PromptPieces {
  readonly #line: Line;
  readonly #slots: SlotAllocation;
  readonly #batch: Batch;
  readonly #pace: Pace;
  /** Who was there when one that is longer than a piece had its last turn; undefined: all are. */
  #before: ReadonlySet<Active> | undefined;

  constructor(line: Line, slots: SlotAllocation, batch: Batch, pace: Pace) {
    this.#line = line;
    this.#slots = slots;
    this.#batch = batch;
    this.#pace = pace;
  }

  /** Does a text wait for the next one's end? */
  get isWaitedFor(): boolean {
    return !this.#line.isWholeFirst && this.#line.decoding.length > 0;
  }

  /**
   * The pieces of the next pass, which there is room for now; whoever made it room may have lost what another one held. Behind a prompt that
   * ends with its piece others follow that end within what is left: weights are read once for all of them.
   * @throws RandloraError `memory`, `gpu`
   */
  async next(): Promise<readonly Piece[]> {
    const pieces: Piece[] = [];
    const { isWaitedFor } = this;
    const most = (active: Active): number => this.#pace.piece(isWaitedFor, heldOf(active));
    let tokens = 0;
    const take = async (active: Active): Promise<void> => {
      const piece = await this.#pieceOf(active, tokens);
      if (piece === undefined) return;
      pieces.push(piece);
      tokens -= piece.ids.length;
    };
    // Those of which others held all come first: they take nothing.
    while (pieces.every(({ ids }) => ids.length === 0)) {
      const active = this.#choose(most, pieces);
      if (active === undefined) return pieces;
      tokens = most(active);
      await take(active);
    }
    if (pieces.some(({ active, end }) => end < endOfPrompt(active))) return pieces;
    for (const one of this.#others(pieces)) if (await this.#fits(one, tokens, pieces)) await take(one);
    return pieces;
  }

  /** Of a prompt so many tokens at most, or a few more. @returns undefined: it has had to give way */
  async #pieceOf(active: Active, tokens: number): Promise<Piece | undefined> {
    const { prompt, options, takeHidden } = active.sequence;
    this.#line.toEnd(active);
    // Again: prompts that began together with this one have been computed meanwhile.
    await this.#slots.share(active);
    const most = endOfPrompt(active);
    const endBehind = (length: number): number =>
      most - length <= Math.min(tokens + FEW, PROMPT_BLOCK) ? most : length + tokens;
    const goesOn = (end: number): boolean => end === most && this.#decodesLast(active);
    // There was room when it began, which may have been lost since where another one's could not be made, and what it held with it.
    const wanted = endBehind(heldOf(active));
    await this.#slots.makeRoom(active, wanted + Number(goesOn(wanted)));
    const [slot] = active.slots;
    if (!active.isRunning || slot === undefined) return undefined;
    const first = slot.length;
    const end = endBehind(first);
    const top = options.promptTop === undefined ? undefined : Math.max(1, options.promptTop);
    return {
      slot,
      ids: prompt.slice(first, end),
      sequenceLength: prompt.length,
      scoring: top === undefined ? undefined : { next: prompt.slice(first + 1, end + 1), top },
      wantsHidden: takeHidden !== undefined,
      active,
      first,
      end,
      goesOn: goesOn(end),
    };
  }

  /** Prompts that have not been computed, but for these. */
  #others(pieces: readonly Piece[]): readonly Active[] {
    return this.#line.prefilling.filter((one) => pieces.every(({ active }) => active !== one));
  }

  /** Whose turn it is. Who ends within a piece goes before a longer one that has had a turn since he came. */
  #choose(most: (active: Active) => number, pieces: readonly Piece[]): Active | undefined {
    const all = this.#others(pieces);
    const before = (this.#before ??= new Set(all));
    const short = all.find((one) => before.has(one) && leftOf(one) <= most(one));
    if (short === undefined) this.#before = undefined;
    return short ?? all[0];
  }

  /** Does its prompt end within so many tokens, and has it little to gain by waiting for what these will hold of its beginning? */
  async #fits(one: Active, tokens: number, pieces: readonly Piece[]): Promise<boolean> {
    // It may have had to give way meanwhile.
    if (!one.isRunning) return false;
    await this.#slots.share(one);
    const left = leftOf(one);
    const most = heldOf(one) + left / 4;
    return left <= tokens && pieces.every(({ active }) => inCommon(one.sequence, active.sequence) <= most);
  }

  /** May the pass that ends a prompt decode its last token? The states of layers go from one row to the next. */
  #decodesLast({ sequence: { beams, takeHidden } }: Active): boolean {
    const { mixes, pool } = this.#batch;
    return mixes && !pool.keepsStates && !this.#line.isWholeFirst && beams === 1 && takeHidden === undefined;
  }
}

function heldOf({ slots }: Active): number {
  return slots[0]?.length ?? 0;
}

/** Tokens of its prompt that are to be computed. */
function leftOf(active: Active): number {
  return endOfPrompt(active) - heldOf(active);
}

/** Tokens of its prompt that passes over prompts compute: where text follows, its last one is decoded. */
export function endOfPrompt({ sequence: { prompt, takeHidden } }: Active): number {
  return takeHidden === undefined ? prompt.length - 1 : prompt.length;
}

/** Is all there that a piece follows on, and room for it? */
export function hasPlace({ active, slot, first, end, goesOn }: Piece): boolean {
  return active.isRunning && slot.length === first && slot.room >= end + Number(goesOn);
}

/** Tokens of a piece at least: fewer are more work for each, as every pass reads all keys and values of the prompt, and all weights where it has them alone. */
export const LEAST = 16;
/** A piece takes as long as so many steps of the texts beside it: whoever reads them waits for both. */
const STEPS = 2;
/** Part of a new measurement in what is known of a step. */
const NEW = 1 / 4;
/** What is left of a piece's measurement when the next one comes: prompts of many lengths are needed to tell tokens from keys. */
const KEPT = 31 / 32;

/** How long the pieces of prompts may be that texts wait for, by what passes have taken. No text depends on it. */
export class Pace {
  readonly #block: number;
  #step: number | undefined;
  /** Sums over pieces of products of their tokens, their keys and their times, for the least squares of time = a · tokens + b · keys. */
  #sums = { tokensTokens: 0, tokensKeys: 0, keysKeys: 0, tokensTime: 0, keysTime: 0 };

  /** @param block tokens of a piece that nobody waits for */
  constructor(block: number) {
    this.#block = block;
  }

  /** Tokens that are read before the next step, of a prompt of which so many have been. */
  piece(isWaitedFor: boolean, position: number): number {
    if (!isWaitedFor) return this.#block;
    const { token, key } = this.#times();
    const each = token + key * position;
    return Math.max(LEAST, Math.min(Math.round((STEPS * (this.#step ?? 0)) / (each || Infinity)), this.#block));
  }

  /**
   * Takes the time of a pass, in any unit: over so many tokens of a prompt, or a step of running texts, or both.
   * @param keys that these tokens see, all together
   */
  passed(time: number, isStep: boolean, tokens: number, keys: number): void {
    if (tokens === 0) {
      this.#step = this.#step === undefined ? time : this.#step + (time - this.#step) * NEW;
      return;
    }
    // Longer pieces take less for each token, a few far more.
    if (tokens < LEAST) return;
    const own = isStep ? Math.max(time - (this.#step ?? 0), time / 4) : time;
    const { tokensTokens, tokensKeys, keysKeys, tokensTime, keysTime } = this.#sums;
    this.#sums = {
      tokensTokens: KEPT * tokensTokens + tokens * tokens,
      tokensKeys: KEPT * tokensKeys + tokens * keys,
      keysKeys: KEPT * keysKeys + keys * keys,
      tokensTime: KEPT * tokensTime + tokens * own,
      keysTime: KEPT * keysTime + keys * own,
    };
  }

  /** What a token takes by itself, and more for each key that it sees; 0 where nothing is known. */
  #times(): { readonly token: number; readonly key: number } {
    const { tokensTokens, tokensKeys, keysKeys, tokensTime, keysTime } = this.#sums;
    const determinant = tokensTokens * keysKeys - tokensKeys * tokensKeys;
    const key = (tokensTokens * keysTime - tokensKeys * tokensTime) / determinant;
    // All pieces stood in one place, or what was measured says that keys take no time.
    if (!(determinant > 1e-3 * tokensTokens * keysKeys) || key < 0) {
      return { token: tokensTime / (tokensTokens || Infinity), key: 0 };
    }
    const token = (keysKeys * tokensTime - tokensKeys * keysTime) / determinant;
    return token > 0 ? { token, key } : { token: 0, key: keysTime / keysKeys };
  }
}
