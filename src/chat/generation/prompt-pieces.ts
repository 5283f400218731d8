import type { Batch, PromptPiece } from "../../models/decoder/cache/batch.ts";
import { PROMPT_BLOCK } from "../../models/decoder/cache/layer-cache.ts";
import type { Active } from "./active.ts";
import { inCommon } from "./kept-slots.ts";
import type { Line } from "./line.ts";
import type { Pace } from "./pace.ts";
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
