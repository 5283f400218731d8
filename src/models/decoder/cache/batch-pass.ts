import type { Commands, Device } from "../../../compute/device/device.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { type Tensor, tensorBytes, tensorIn, write } from "../../../compute/tensor/tensor.ts";
import { type Angles, tensorsOfAngles } from "../../blocks/rope.ts";
import type { DecoderConfig } from "../config.ts";
import { recordLogits, recordPass } from "../forward.ts";
import { batchLinears, type Linears } from "../../blocks/linears.ts";
import { type AdaptedRows, rowLinears } from "../../blocks/row-linears.ts";
import { angles, queryGrowth } from "../../blocks/rope-scaling.ts";
import type { Slot } from "./slot.ts";
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
  readonly #inputs: { readonly [K in "ids" | "rows" | "first" | "last"]: Tensor };
  readonly #tables: readonly Angles[];

  /** @throws RandloraError `memory` */
  constructor(parts: BatchParts, { adapted, count, wantsLse }: PassKind) {
    const { device, config, weights, pool, rowsAtMost } = parts;
    const linears = batchLinears(rowLinears(parts.linears(), adapted), rowsAtMost);
    this.#parts = parts;
    const numbers = (label: string): Tensor => tensorIn(device.memory.allocate(label, 16 * count), [1, count], "U32");
    this.#inputs = { ids: numbers("ids"), rows: numbers("rows"), first: numbers("first"), last: numbers("last") };
    const { ids, rows, first, last } = this.#inputs;
    this.#tables = config.ropes.map(({ size, growth }) => {
      const table = (label: string, cols: number, dtype: "F32" | "U32" = "F32") =>
        tensorIn(device.memory.allocate(label, tensorBytes([count, cols], dtype)), [count, cols], dtype);
      const turns = { cos: table("cos", size / 2), sin: table("sin", size / 2) };
      if (growth === undefined) return turns;
      return { ...turns, growth: { factors: table("growth", 1), places: table("rows", 1, "U32") } };
    });
    const run = new Run(device);
    this.#run = run;
    try {
      const past = { length: 0, rows, layer: (index: number) => pool.layer(index) };
      const sight = { tables: this.#tables, past, starts: first, ends: last };
      const hidden = recordPass(run, { config, weights, linears, ...sight }, ids);
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
   * @throws RandloraError `gpu`
   */
  async send(tokens: readonly NextToken[]): Promise<void> {
    const { device, config } = this.#parts;
    const fill = (tensor: Tensor, of: (token: NextToken) => number): void =>
      write(device, tensor, Uint32Array.from(tokens, of));
    fill(this.#inputs.ids, ({ id }) => id);
    fill(this.#inputs.rows, ({ slot }) => slot.start + slot.length);
    fill(this.#inputs.first, ({ slot }) => slot.start);
    fill(this.#inputs.last, ({ slot }) => slot.start + slot.length);
    config.ropes.forEach((rope, index) => {
      const table = this.#tables[index];
      if (table === undefined) return;
      // A sequence's angles go by its own length alone.
      const turns = tokens.map(({ slot }) => angles(rope, slot.length + 1, [slot.length]));
      for (const name of ["cos", "sin"] as const) {
        const values = new Float32Array(tokens.length * (rope.size / 2));
        turns.forEach((turn, row) => values.set(turn[name], row * (rope.size / 2)));
        write(device, table[name], values);
      }
      if (rope.growth === undefined || table.growth === undefined) return;
      const { factors, places } = table.growth;
      write(
        device,
        factors,
        queryGrowth(
          rope.growth,
          tokens.map(({ slot }) => slot.length),
        ),
      );
      write(
        device,
        places,
        Uint32Array.from(tokens, (_, row) => row),
      );
    });
    await this.#commands.send();
    for (const { slot, id } of tokens) slot.advance([id], slot.length + 1, false);
  }

  [Symbol.dispose](): void {
    this.#run[Symbol.dispose]();
    const tables = this.#tables.flatMap(tensorsOfAngles);
    for (const { buffer } of [...Object.values(this.#inputs), ...tables]) {
      this.#parts.device.memory.release(buffer);
    }
  }
}
