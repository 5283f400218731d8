import type { Commands, Device } from "../../../compute/device/device.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { sliceRows, type Tensor, write } from "../../../compute/tensor/tensor.ts";
import type { Decoder } from "../decoder.ts";
import { layerRows, recordLogits, recordPass } from "../forward.ts";
import { checkPositions, type PassPositions } from "../positions.ts";
import { batchLinears, type Linears } from "../../blocks/linears.ts";
import { type AdaptedRows, rowLinears } from "../../blocks/row-linears.ts";
import { angles, queryGrowth } from "../../blocks/rope.ts";
import { itemAt } from "../../../files/item-at.ts";
import { PROMPT_BLOCK } from "./layer-cache.ts";
import type { TokenRows } from "../../blocks/sight.ts";
import type { Place, Slot } from "./slot.ts";
import type { SlotPool } from "./slot-pool.ts";
import { readMatrices } from "../../../compute/tensor/read-rows.ts";

/** What a batch needs of a decoder. */
export type BatchDecoder = Pick<Decoder, "gpu" | "config" | "weights" | "kvDtype" | "linears">;

/** What a pass works with. */
export interface BatchParts {
  readonly decoder: BatchDecoder;
  readonly pool: SlotPool;
  /** Rows of the largest pass of this batch. */
  readonly rowsAtMost: number;
}

/** Which passes are the same commands: one recording serves them. */
export interface PassKind {
  /** Adapters beside the weights, each of some consecutive rows; those of the base are none of them. */
  readonly adapted: readonly AdaptedRows[];
  /** Sequences of which it decodes a token. */
  readonly count: number;
  readonly wantsLse: boolean;
  /** Tokens of prompts behind those; such a pass is sent once. */
  readonly pieces?: readonly PromptTokens[];
}

/** A sequence that goes on with a token. */
export interface NextToken {
  readonly slot: Slot;
  readonly id: number;
}

/** Tokens of a prompt behind those in its slot, PROMPT_BLOCK at most. */
export interface PromptTokens {
  readonly slot: Slot;
  readonly ids: readonly number[];
  /** Of the whole prompt: RoPE that depends on the length goes by it. */
  readonly sequenceLength: number;
}

/** A token of a pass, and where it stands in its sequence. */
interface Row extends NextToken, Pick<PromptTokens, "sequenceLength"> {
  readonly at: number;
}

/**
 * The pass over one token of each of several sequences, which joins their slots: recorded once for a number of sequences
 * and a pool's matrices, since all that differs from pass to pass (tokens, angles, rows, what each may see) is data. Pieces of
 * prompts may be behind them: adapters take their rows for a prompt's, and all else computes each row by itself.
 */
export class BatchPass implements Disposable {
  /** (tokens, hidden), after the last norm. */
  readonly hidden: Tensor;
  /** (sequences, vocabulary), unless there are none; the next pass overwrites it. */
  readonly logits: Tensor | undefined;
  /** (sequences, 1), log Σ exp(logits); undefined where it was not asked for. */
  readonly lse: Tensor | undefined;
  readonly #parts: BatchParts;
  readonly #run: Run;
  readonly #commands: Commands;
  readonly #ids: Tensor;
  /** What layers read beside the stream, by token; undefined: nothing. */
  readonly #layerRows: Tensor | undefined;
  /** By group of layers. */
  readonly #rows: readonly TokenRows[];
  readonly #positions: PassPositions;
  readonly #pieces: readonly PromptTokens[];

  /** @throws RandloraError `memory` */
  constructor(parts: BatchParts, { adapted, count, wantsLse, pieces = [] }: PassKind) {
    const { decoder, pool, rowsAtMost } = parts;
    const { gpu: device, config, weights, linears: plain } = decoder;
    const decoding = batchLinears(rowLinears(plain, adapted), rowsAtMost);
    const behind = placed(pieces, count);
    // Adapters that are part of the model may take few rows otherwise than a prompt's: no pass has both then.
    const linears = pieces.length === 0 ? decoding : linearsBehind(count === 0 ? plain : decoding, behind);
    const tokens = pieces.reduce((sum, { ids }) => sum + ids.length, count);
    this.#parts = parts;
    this.#pieces = pieces;
    const run = new Run(device);
    this.#run = run;
    try {
      // Written before each sending, and never released in it.
      const numbers = (label: string): Tensor => run.allocate(label, [1, tokens], "U32");
      const wide = (label: string, cols: number): Tensor => run.allocate(label, [tokens, cols]);
      const ids = numbers("ids");
      const { layerTable } = weights;
      this.#layerRows = layerTable && wide("rows of layers", layerTable.cols);
      const rows = pool.groups.map(() => ({ own: numbers("rows"), first: numbers("first rows") }));
      this.#ids = ids;
      this.#rows = rows;
      const tables = config.ropes.map(({ size, growth }) => {
        const turns = { cos: wide("cos", size / 2), sin: wide("sin", size / 2) };
        if (growth === undefined) return turns;
        const order = Uint32Array.from({ length: tokens }, (_, row) => row);
        return { ...turns, growth: { factors: wide("growth", 1), places: run.upload("rows", [tokens, 1], order) } };
      });
      this.#positions = { tables, positions: config.positions && numbers("positions") };
      const layer = (index: number) => {
        const { matrices, group } = pool.layer(index);
        const own = behind.map(({ first, slot }) => ({ first, past: slot.past().layer(index) }));
        return { ...matrices, length: 0, rows: itemAt(rows, group), pieces: own };
      };
      const pass = { config, weights, linears, ...this.#positions, past: { layer } };
      this.hidden = recordPass(run, pass, ids, this.#layerRows);
      const hidden = count === 0 ? undefined : sliceRows(this.hidden, 0, count);
      this.logits = hidden && recordLogits(run, config, weights, hidden, rowsAtMost);
      if (wantsLse && hidden !== undefined) {
        // The op is made for losses: whose likelihood it gives besides does not matter here.
        const attributes = { softcap: config.logitSoftcap, rowsAtMost };
        this.lse = run.apply(
          OPS.nll,
          { x: hidden, weight: weights.head, bias: weights.headBias, targets: { ...ids, shape: [1, count] } },
          attributes,
        ).lse;
      }
      this.#commands = run.take();
    } catch (thrown) {
      this[Symbol.dispose]();
      throw thrown;
    }
  }

  /**
   * Sends the pass over these tokens, as many as it was recorded for, whose slots have room for them. They may follow on pieces.
   * @throws RandloraError `gpu`; `model` for positions that the model has no embeddings for
   */
  async send(next: readonly NextToken[]): Promise<void> {
    const { gpu: device, config, weights } = this.#parts.decoder;
    const rows = this.#rowsOf(next);
    const fill = (tensor: Tensor, of: (row: Row) => number): void => write(device, tensor, Uint32Array.from(rows, of));
    const { tables, positions } = this.#positions;
    const standing = rows.map(({ at }) => at);
    checkPositions(config, standing);
    if (positions !== undefined) fill(positions, ({ at }) => at);
    fill(this.#ids, ({ id }) => id);
    if (this.#layerRows !== undefined) {
      const ids = rows.map(({ id }) => id);
      write(device, this.#layerRows, layerRows(weights, ids));
    }
    for (const [group, { own, first }] of this.#rows.entries()) {
      const placeOf = ({ slot }: Row): Place => itemAt(slot.places, group);
      fill(own, (row) => placeOf(row).start + row.at - placeOf(row).first);
      fill(first, (row) => placeOf(row).start);
    }
    config.ropes.forEach((rope, index) => {
      const table = tables[index];
      if (table === undefined) return;
      // A sequence's angles go by its own length alone.
      const turns = rows.map(({ at, sequenceLength }) => angles(rope, sequenceLength, [at]));
      for (const name of ["cos", "sin"] as const) {
        const values = new Float32Array(rows.length * (rope.size / 2));
        turns.forEach((turn, row) => values.set(turn[name], row * (rope.size / 2)));
        write(device, table[name], values);
      }
      if (rope.growth === undefined || table.growth === undefined) return;
      write(device, table.growth.factors, queryGrowth(rope.growth, standing));
    });
    await this.#commands.send();
    for (const { slot, ids, sequenceLength } of this.#pieces) slot.advance(ids, sequenceLength, true);
    for (const { slot, id } of next) slot.advance([id], slot.length + 1, false);
  }

  #rowsOf(next: readonly NextToken[]): readonly Row[] {
    const before = new Map(this.#pieces.map(({ slot, ids }) => [slot, ids.length]));
    const tokens = next.map(({ slot, id }) => {
      const at = slot.length + (before.get(slot) ?? 0);
      return { slot, id, at, sequenceLength: at + 1 };
    });
    const ofPieces = this.#pieces.flatMap((piece) =>
      piece.ids.map((id, token) => ({ ...piece, id, at: piece.slot.length + token })),
    );
    return [...tokens, ...ofPieces];
  }

  [Symbol.dispose](): void {
    this.#run[Symbol.dispose]();
  }
}

/** Tokens of a prompt, and the row of a pass where they begin. */
interface PlacedTokens extends PromptTokens {
  readonly first: number;
}

/** One behind the other, from a row on. */
function placed(pieces: readonly PromptTokens[], from: number): PlacedTokens[] {
  let end = from;
  return pieces.map((piece) => ({ ...piece, first: (end += piece.ids.length) - piece.ids.length }));
}

/** Rows of these are prompts': their adapters take them for that, and add to them alone. */
function linearsBehind(linears: Linears, pieces: readonly PlacedTokens[]): Linears {
  const adapted = pieces.flatMap(({ slot: { adapter }, first, ids }) =>
    adapter === undefined ? [] : [{ adapter, first, count: ids.length }],
  );
  return batchLinears(rowLinears(linears, adapted), PROMPT_BLOCK);
}

/** A sequence that goes on with a token, and what is to be known of the one after it. */
export interface BatchToken extends NextToken {
  /** The best so many. */
  readonly top: number;
  /** The logits of all. */
  readonly all: boolean;
  /** log Σ exp(logits). */
  readonly lse: boolean;
}

/** What follows on a token. */
export interface BatchLogits {
  /** The best tokens and their logits, best first: at least as many as were asked for. */
  readonly ids: Uint32Array;
  readonly logits: Float32Array;
  readonly all: Float32Array<ArrayBuffer> | undefined;
  readonly lse: number | undefined;
}

/**
 * Reads what follows on the tokens of a pass that was sent, in their order.
 * @throws RandloraError `memory`, `gpu`
 */
export async function readLogits(
  device: Device,
  run: Run,
  logits: Tensor,
  lse: Tensor | undefined,
  tokens: readonly BatchToken[],
): Promise<BatchLogits[]> {
  const vocabulary = logits.shape[1];
  const k = Math.min(Math.max(1, ...tokens.map(({ top }) => top)), vocabulary);
  const { values, ids } = run.apply(OPS.topK, { x: logits }, { k });
  const kept = [run.keep(values), run.keep(ids)];
  const alls = tokens.flatMap(({ all }, row) => (all ? [row] : []));
  const whole = alls.map((row) => sliceRows(logits, row, 1));
  try {
    await run.submit();
    const read = await readMatrices(device, [...kept, ...whole, ...(lse === undefined ? [] : [lse])]);
    const numbers = (at: number) => new Float32Array(itemAt(read, at).buffer);
    const [best, bestIds, sums] = [numbers(0), itemAt(read, 1), lse && numbers(2 + alls.length)];
    return tokens.map(({ all }, row) => ({
      logits: best.slice(row * k, (row + 1) * k),
      ids: bestIds.slice(row * k, (row + 1) * k),
      lse: sums?.[row],
      all: all ? numbers(2 + alls.indexOf(row)) : undefined,
    }));
  } finally {
    for (const { buffer } of kept) device.memory.release(buffer);
  }
}
