import type { Commands, Device } from "../../../compute/device/device.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { type Tensor, tensorBytes, tensorIn, write } from "../../../compute/tensor/tensor.ts";
import type { DecoderConfig } from "../config.ts";
import { recordLogits, recordPass } from "../forward.ts";
import { layerRows } from "../layer-inputs.ts";
import { checkPositions, type PassPositions, tensorsOfPositions } from "../positions.ts";
import { batchLinears, type Linears } from "../../blocks/linears.ts";
import { type AdaptedRows, rowLinears } from "../../blocks/row-linears.ts";
import { angles, queryGrowth } from "../../blocks/rope-scaling.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { TokenRows } from "../../blocks/sight.ts";
import type { Place, Slot } from "./slot.ts";
import type { SlotPool } from "./slot-pool.ts";
import type { DecoderWeights } from "../weights.ts";

/** What a pass works with. */
export interface BatchParts {
  readonly device: Device;
  readonly config: DecoderConfig;
  readonly weights: DecoderWeights;
  /** How projections are computed now. */
  readonly linears: () => Linears;
  readonly pool: SlotPool;
  /** Rows of the largest pass of this batch. */
  readonly rowsAtMost: number;
}

/** Which passes are the same commands: one recording serves them. */
export interface PassKind {
  /** Adapters beside the weights, each of some consecutive rows; those of the base are none of them. */
  readonly adapted: readonly AdaptedRows[];
  /** Sequences. */
  readonly count: number;
  readonly wantsLse: boolean;
}

/** A sequence that goes on with a token. */
export interface NextToken {
  readonly slot: Slot;
  readonly id: number;
}

/**
 * The pass over one token of each of several sequences, which joins their slots: recorded once for a number of sequences
 * and a pool's matrices, since all that differs from pass to pass (tokens, angles, rows, what each may see) is data.
 */
export class BatchPass implements Disposable {
  /** (sequences, vocabulary); the next pass overwrites it. */
  readonly logits: Tensor;
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

  /** @throws RandloraError `memory` */
  constructor(parts: BatchParts, { adapted, count, wantsLse }: PassKind) {
    const { device, config, weights, pool, rowsAtMost } = parts;
    const linears = batchLinears(rowLinears(parts.linears(), adapted), rowsAtMost);
    this.#parts = parts;
    const numbers = (label: string): Tensor => tensorIn(device.memory.allocate(label, 16 * count), [1, count], "U32");
    const ids = numbers("ids");
    const wide = (label: string, cols: number, dtype: "F32" | "U32" = "F32") =>
      tensorIn(device.memory.allocate(label, tensorBytes([count, cols], dtype)), [count, cols], dtype);
    const { layerTable } = weights;
    this.#layerRows = layerTable && wide("rows of layers", layerTable.cols);
    const rows = pool.groups.map(() => ({ own: numbers("rows"), first: numbers("first rows") }));
    this.#ids = ids;
    this.#rows = rows;
    const tables = config.ropes.map(({ size, growth }) => {
      const turns = { cos: wide("cos", size / 2), sin: wide("sin", size / 2) };
      if (growth === undefined) return turns;
      const places = wide("rows", 1, "U32");
      write(
        device,
        places,
        Uint32Array.from({ length: count }, (_, row) => row),
      );
      return { ...turns, growth: { factors: wide("growth", 1), places } };
    });
    this.#positions = { tables, positions: config.positions && numbers("positions") };
    const run = new Run(device);
    this.#run = run;
    try {
      const layer = (index: number) => {
        const { matrices, group } = pool.layer(index);
        return { ...matrices, length: 0, rows: itemAt(rows, group) };
      };
      const pass = { config, weights, linears, ...this.#positions, past: { layer } };
      const hidden = recordPass(run, pass, ids, this.#layerRows);
      this.logits = recordLogits(run, config, weights, hidden, rowsAtMost);
      if (wantsLse) {
        // The op is made for losses: whose likelihood it gives besides does not matter here.
        const attributes = { softcap: config.logitSoftcap, rowsAtMost };
        this.lse = run.apply(
          OPS.nll,
          { x: hidden, weight: weights.head, bias: undefined, targets: ids },
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
   * Sends the pass over these tokens, as many as it was recorded for, whose slots have room for them.
   * @throws RandloraError `gpu`; `model` for positions that the model has no embeddings for
   */
  async send(tokens: readonly NextToken[]): Promise<void> {
    const { device, config, weights } = this.#parts;
    const fill = (tensor: Tensor, of: (token: NextToken) => number): void =>
      write(device, tensor, Uint32Array.from(tokens, of));
    const { tables, positions } = this.#positions;
    const lengths = tokens.map(({ slot }) => slot.length);
    checkPositions(config, lengths);
    if (positions !== undefined) fill(positions, ({ slot }) => slot.length);
    fill(this.#ids, ({ id }) => id);
    if (this.#layerRows !== undefined) {
      const ids = tokens.map(({ id }) => id);
      write(device, this.#layerRows, layerRows(weights, ids));
    }
    for (const [group, { own, first }] of this.#rows.entries()) {
      const placeOf = ({ slot }: NextToken): Place => itemAt(slot.places, group);
      fill(own, (token) => placeOf(token).start + token.slot.length - placeOf(token).first);
      fill(first, (token) => placeOf(token).start);
    }
    config.ropes.forEach((rope, index) => {
      const table = tables[index];
      if (table === undefined) return;
      // A sequence's angles go by its own length alone.
      const turns = tokens.map(({ slot }) => angles(rope, slot.length + 1, [slot.length]));
      for (const name of ["cos", "sin"] as const) {
        const values = new Float32Array(tokens.length * (rope.size / 2));
        turns.forEach((turn, row) => values.set(turn[name], row * (rope.size / 2)));
        write(device, table[name], values);
      }
      if (rope.growth === undefined || table.growth === undefined) return;
      write(device, table.growth.factors, queryGrowth(rope.growth, lengths));
    });
    await this.#commands.send();
    for (const { slot, id } of tokens) slot.advance([id], slot.length + 1, false);
  }

  [Symbol.dispose](): void {
    this.#run[Symbol.dispose]();
    const rows = this.#rows.flatMap(({ own, first }) => [own, first]);
    const ofLayers = this.#layerRows === undefined ? [] : [this.#layerRows];
    for (const { buffer } of [this.#ids, ...ofLayers, ...rows, ...tensorsOfPositions(this.#positions)]) {
      this.#parts.device.memory.release(buffer);
    }
  }
}
