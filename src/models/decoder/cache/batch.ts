import { readRows } from "../../../compute/tensor/read-rows.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { sliceRows, type Tensor } from "../../../compute/tensor/tensor.ts";
import {
  type BatchDecoder,
  type BatchLogits,
  type BatchParts,
  BatchPass,
  type BatchToken,
  type PromptTokens,
  readLogits,
} from "./batch-pass.ts";
import { recordForward } from "../forward.ts";
import { type AdapterLinears, batchLinears, PLAIN_LINEARS } from "../../blocks/linears.ts";
import { type AdaptedRows, groupOf } from "../../blocks/row-linears.ts";
import { type PromptLogits, type RecordedResult, recordScores, type Scoring } from "../prompt-scores.ts";
import { fitsKeys } from "../../blocks/rope.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { Slot } from "./slot.ts";
import { PROMPT_BLOCK } from "./layer-cache.ts";
import { SlotPool } from "./slot-pool.ts";

/** A piece of a prompt, and what is to be known of its tokens. */
export interface PromptPiece extends PromptTokens {
  /** What may follow on each. */
  readonly scoring?: Scoring | undefined;
  /** Their hidden states. */
  readonly wantsHidden?: boolean;
}

/** What comes of a piece. */
export interface PieceResult {
  /** What follows on each of its tokens, where that is asked for. */
  readonly scores: readonly PromptLogits[];
  /** After the last norm, (tokens of the piece, hidden), without gaps. */
  readonly hidden: Float32Array | undefined;
}

/** What comes of a pass. */
export interface PassResult {
  /** What follows on each of the tokens. */
  readonly next: readonly BatchLogits[];
  readonly pieces: readonly PieceResult[];
}

/** Passes that are kept recorded, each for another number of sequences. */
export const MOST_PASSES = 4;

/**
 * Passes over several sequences at once. What comes of a sequence does not depend on those beside it, bit for bit:
 * prompts take one way through a device's products, single tokens another, chosen by the size of the largest pass.
 */
export class Batch implements Disposable {
  readonly pool: SlotPool;
  readonly #parts: BatchParts;
  readonly #run: Run;
  /** By the adapter of each row and whether sums are wanted; the one used last is the last. */
  readonly #passes = new Map<string, BatchPass>();
  readonly #numbers = new WeakMap<object, number>();
  #numbered = 0;
  #version = 0;

  /**
   * @param rows sequences of a pass at most
   * @param positions of all sequences together at most
   */
  constructor(decoder: BatchDecoder, { rows, positions }: { rows: number; positions: number }) {
    const { gpu: device, config, kvDtype: dtype } = decoder;
    this.pool = new SlotPool(device, config, { positions, sequences: rows, dtype });
    this.#parts = { decoder, pool: this.pool, rowsAtMost: rows };
    this.#run = new Run(device);
  }

  /** May a pass have tokens of texts beside pieces of prompts? Each has then the bits that it has alone. */
  get mixes(): boolean {
    // What else is computed with the weights may take few rows otherwise than many.
    const { gpu, linears } = this.#parts.decoder;
    return gpu.mixesRows && linears === PLAIN_LINEARS;
  }

  /**
   * Runs one token of each sequence through the model, or pieces of prompts, or both where `mixes`; they join their slots. The token behind a
   * piece may be among them, unless layers keep states.
   * @throws RandloraError `memory`, `gpu`; slots then hold no more than before
   */
  async pass(tokens: readonly BatchToken[], ...pieces: readonly PromptPiece[]): Promise<PassResult> {
    const { gpu: device } = this.#parts.decoder;
    const ends = new Map(tokens.map(({ slot }) => [slot, slot.length + 1]));
    for (const { slot, ids } of pieces) ends.set(slot, (ends.get(slot) ?? slot.length) + ids.length);
    const before = Array.from(ends.keys(), (slot) => ({ slot, length: slot.length }));
    // What comes of pieces, until it has been read.
    const recorded: RecordedResult<PieceResult>[] = [];
    try {
      for (const [slot, end] of ends) {
        if (pieces.every((piece) => piece.slot !== slot)) await this.#turnAnew(slot);
        await this.pool.reserve(slot, end);
      }
      const order = tokens.toSorted((left, right) => this.#compare(left.slot.adapter, right.slot.adapter));
      const isAlone = order.length === 0 && pieces.length === 1;
      const pass = isAlone ? undefined : this.#pass(order, pieces);
      using _ = pieces.length > 0 ? pass : undefined;
      await pass?.send(order);
      let row = order.length;
      for (const piece of pieces) {
        const { length } = piece.ids;
        recorded.push(this.#recordPiece(piece, pass && sliceRows(pass.hidden, row, length)));
        row += length;
      }
      const next = pass?.logits && (await readLogits(device, this.#run, pass.logits, pass.lse, order));
      // What was recorded of pieces is this run's, until it has been read.
      if (next === undefined) await this.#run.flush();
      const results: PieceResult[] = [];
      for (const of of recorded) results.push(await of.read());
      return { next: tokens.map((token) => itemAt(next ?? [], order.indexOf(token))), pieces: results };
    } catch (thrown) {
      for (const { slot, length } of before) slot.failed(length);
      // There may have been no room for what it was recorded with.
      this.forgetPasses();
      throw thrown;
    } finally {
      this.#run.discard();
      for (const { buffer } of recorded.flatMap(({ tensors }) => tensors)) device.memory.release(buffer);
    }
  }

  /** Drops what is recorded. Weights that have changed may be other tensors. */
  forgetPasses(): void {
    for (const pass of this.#passes.values()) pass[Symbol.dispose]();
    this.#passes.clear();
  }

  [Symbol.dispose](): void {
    this.forgetPasses();
    this.#run[Symbol.dispose]();
    this.pool[Symbol.dispose]();
  }

  /** Records what is asked of a piece. @param hidden its states, where a pass over others has them, too; undefined: it is recorded */
  #recordPiece(piece: PromptPiece, hidden = this.#recordAlone(piece)): RecordedResult<PieceResult> {
    const { gpu: device, config, weights } = this.#parts.decoder;
    const { scoring, wantsHidden = false, ids } = piece;
    const parts = { config, weights, rowsAtMost: PROMPT_BLOCK };
    const scores = scoring && recordScores(this.#run, device, parts, hidden, scoring);
    return {
      tensors: scores?.tensors ?? [],
      read: async () => ({
        scores: (await scores?.read()) ?? [],
        hidden: wantsHidden ? await readRows(device, hidden, 0, ids.length) : undefined,
      }),
    };
  }

  /** Records a pass over a piece alone. @returns its hidden states */
  #recordAlone({ slot, ids, sequenceLength }: PromptPiece, isPrompt = true): Tensor {
    const { config, weights, linears: plain } = this.#parts.decoder;
    const linears = batchLinears(slot.adapter?.(plain) ?? plain, PROMPT_BLOCK);
    return recordForward(this.#run, config, weights, linears, slot, ids, sequenceLength, isPrompt);
  }

  /** Keys that queries of one more token do not fit are computed anew. */
  async #turnAnew(slot: Slot): Promise<void> {
    const next = slot.length + 1;
    if (slot.length === 0 || this.#parts.decoder.config.ropes.every((rope) => fitsKeys(rope, slot.longest, next)))
      return;
    const ids = [...slot.ids];
    slot.truncate(0);
    for (let first = 0; first < ids.length; first += PROMPT_BLOCK) {
      const some = ids.slice(first, first + PROMPT_BLOCK);
      await this.pool.reserve(slot, slot.length + some.length);
      this.#recordAlone({ slot, ids: some, sequenceLength: next }, false);
      await this.#run.submit();
    }
  }

  /** One adapter's rows lie together, and those of a group; the first are the base's. */
  #compare(left: AdapterLinears | undefined, right: AdapterLinears | undefined): number {
    const [one, other] = [left && groupOf(left), right && groupOf(right)];
    return this.#numberOf(one) - this.#numberOf(other) || this.#numberOf(left) - this.#numberOf(right);
  }

  /** 0: the base. An adapter that is placed again is another one. */
  #numberOf(adapter: object | undefined): number {
    if (adapter === undefined) return 0;
    const number = this.#numbers.get(adapter) ?? ++this.#numbered;
    this.#numbers.set(adapter, number);
    return number;
  }

  /** The pass over these: kept, or the caller's where it has pieces. */
  #pass(tokens: readonly BatchToken[], pieces: readonly PromptPiece[]): BatchPass {
    if (this.#version !== this.pool.version) this.forgetPasses();
    this.#version = this.pool.version;
    const count = tokens.length;
    const wantsLse = tokens.some(({ lse }) => lse);
    const key = `${tokens.map(({ slot }) => this.#numberOf(slot.adapter)).join(" ")} ${wantsLse}`;
    const kind = { adapted: adaptedRows(tokens), count, wantsLse };
    if (pieces.length > 0) return new BatchPass(this.#parts, { ...kind, pieces });
    const pass = this.#passes.get(key) ?? new BatchPass(this.#parts, kind);
    this.#passes.delete(key);
    this.#passes.set(key, pass);
    for (const [oldest, unused] of this.#passes) {
      if (this.#passes.size <= MOST_PASSES) break;
      this.#passes.delete(oldest);
      unused[Symbol.dispose]();
    }
    return pass;
  }
}

/** The rows of each adapter. @param tokens those of one adapter behind each other */
function adaptedRows(tokens: readonly BatchToken[]): AdaptedRows[] {
  const adapters = tokens.map(({ slot }) => slot.adapter);
  return [...new Set(adapters)].flatMap((adapter) => {
    if (adapter === undefined) return [];
    const first = adapters.indexOf(adapter);
    return [{ adapter, first, count: adapters.lastIndexOf(adapter) + 1 - first }];
  });
}
