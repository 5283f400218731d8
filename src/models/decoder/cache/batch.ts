import { readRows } from "../../../compute/tensor/read-rows.ts";
import { Run } from "../../../compute/tensor/run.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import { type BatchLogits, type BatchToken, readLogits } from "./batch-logits.ts";
import { BatchPass, type BatchParts } from "./batch-pass.ts";
import type { Decoder } from "../decoder.ts";
import { recordForward } from "../forward.ts";
import { type AdapterLinears, batchLinears } from "../../blocks/linears.ts";
import { type AdaptedRows, groupOf } from "../../blocks/row-linears.ts";
import { type PromptLogits, type RecordedResult, recordScores, type Scoring } from "../prompt-scores.ts";
import { sameAngles } from "../../blocks/rope-scaling.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { Slot } from "./slot.ts";
import { PROMPT_BLOCK } from "./layer-cache.ts";
import { SlotPool } from "./slot-pool.ts";

/** What a batch needs of a decoder. */
export type BatchDecoder = Pick<Decoder, "gpu" | "config" | "weights" | "kvDtype" | "linears">;

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
    const { gpu: device, config, weights } = decoder;
    this.pool = new SlotPool(device, config, { positions, sequences: rows, dtype: decoder.kvDtype });
    const linears = () => decoder.linears;
    this.#parts = { device, config, weights, linears, pool: this.pool, rowsAtMost: rows };
    this.#run = new Run(device);
  }

  /**
   * Runs at most PROMPT_BLOCK tokens of a prompt through the model; they join the slot.
   * @param sequenceLength of the whole prompt: RoPE that depends on the length goes by it
   * @returns what may follow on each token, where that is asked for
   * @throws RandloraError `memory`, `gpu`; the slot is then as before
   */
  async prefill(
    slot: Slot,
    ids: readonly number[],
    sequenceLength: number,
    scoring?: Scoring,
  ): Promise<readonly PromptLogits[]> {
    const { device, config, weights } = this.#parts;
    const parts = { config, weights, rowsAtMost: PROMPT_BLOCK };
    const record = scoring && ((hidden: Tensor) => recordScores(this.#run, device, parts, hidden, scoring));
    return (await this.#prefill(slot, ids, sequenceLength, true, record)) ?? [];
  }

  /**
   * As `prefill`.
   * @returns the hidden states of these tokens after the last norm, (tokens, hidden), without gaps
   */
  async hiddenStates(slot: Slot, ids: readonly number[], sequenceLength: number): Promise<Float32Array> {
    const record = (hidden: Tensor): RecordedResult<Float32Array> => ({
      tensors: [this.#run.keep(hidden)],
      read: () => readRows(this.#parts.device, hidden, 0, ids.length),
    });
    return (await this.#prefill(slot, ids, sequenceLength, true, record)) ?? new Float32Array();
  }

  /**
   * Runs one token of each sequence through the model; they join their slots.
   * @throws RandloraError `memory`, `gpu`; slots then hold no more than before
   */
  async step(tokens: readonly BatchToken[]): Promise<BatchLogits[]> {
    const before = tokens.map(({ slot }) => ({ slot, length: slot.length }));
    try {
      for (const { slot } of tokens) {
        await this.#turnAnew(slot);
        await this.pool.reserve(slot, slot.length + 1);
      }
      const order = tokens.toSorted((left, right) => this.#compare(left.slot.adapter, right.slot.adapter));
      const pass = this.#pass(order);
      await pass.send(order);
      const read = await readLogits(this.#parts.device, this.#run, pass, order);
      return tokens.map((token) => itemAt(read, order.indexOf(token)));
    } catch (thrown) {
      for (const { slot, length } of before) slot.failed(length);
      this.#run.discard();
      // There may have been no room for what it was recorded with.
      this.forgetPasses();
      throw thrown;
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

  /** @param record what is made of the hidden states */
  async #prefill<T>(
    slot: Slot,
    ids: readonly number[],
    sequenceLength: number,
    isPrompt: boolean,
    record?: (hidden: Tensor) => RecordedResult<T>,
  ): Promise<T | undefined> {
    const { config, weights } = this.#parts;
    await this.pool.reserve(slot, slot.length + ids.length);
    const run = this.#run;
    const { length } = slot;
    let result: RecordedResult<T> | undefined;
    try {
      const plain = this.#parts.linears();
      const linears = batchLinears(slot.adapter?.(plain) ?? plain, PROMPT_BLOCK);
      const hidden = recordForward(run, config, weights, linears, slot, ids, sequenceLength, isPrompt);
      result = record?.(hidden);
      await run.submit();
      return await result?.read();
    } catch (thrown) {
      slot.failed(length);
      run.discard();
      throw thrown;
    } finally {
      for (const { buffer } of result?.tensors ?? []) this.#parts.device.memory.release(buffer);
    }
  }

  /** LongRoPE beyond the trained length: keys of the other angles are computed anew; see `Decoder`. */
  async #turnAnew(slot: Slot): Promise<void> {
    const next = slot.length + 1;
    const crossed = this.#parts.config.ropes.some(
      (rope) => rope.scaling.kind === "longrope" && !sameAngles(rope, slot.longest, next),
    );
    if (!crossed || slot.length === 0) return;
    const ids = [...slot.ids];
    slot.truncate(0);
    for (let first = 0; first < ids.length; first += PROMPT_BLOCK) {
      await this.#prefill(slot, ids.slice(first, first + PROMPT_BLOCK), next, false);
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

  #pass(tokens: readonly BatchToken[]): BatchPass {
    if (this.#version !== this.pool.version) this.forgetPasses();
    this.#version = this.pool.version;
    const count = tokens.length;
    const wantsLse = tokens.some(({ lse }) => lse);
    const key = `${tokens.map(({ slot }) => this.#numberOf(slot.adapter)).join(" ")} ${wantsLse}`;
    const pass = this.#passes.get(key) ?? new BatchPass(this.#parts, { adapted: adaptedRows(tokens), count, wantsLse });
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
