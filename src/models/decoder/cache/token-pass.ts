import type { Device } from "../../../compute/device/device.ts";
import { Replay } from "../../../compute/tensor/replay.ts";
import { type Tensor, tensorBytes, tensorIn, write } from "../../../compute/tensor/tensor.ts";
import type { Angles } from "../../blocks/rope.ts";
import type { DecoderConfig } from "../config.ts";
import { recordPass } from "../forward.ts";
import type { Linears } from "../../blocks/linears.ts";
import type { KvCache, RecordedPass } from "./kv-cache.ts";
import { angles } from "../../blocks/rope-scaling.ts";
import type { DecoderWeights } from "../weights.ts";

/**
 * The pass over one token that joins a cache, which is one step of decoding: recorded once for the cache's
 * matrices, since from token to token only its id, its position and its angles are others.
 */
export class TokenPass implements RecordedPass {
  readonly #gpu: Device;
  readonly #config: DecoderConfig;
  readonly #ids: Tensor;
  readonly #tables: readonly Angles[];
  readonly #replay: Replay<Tensor>;

  /** @throws RandloraError `memory` */
  constructor(gpu: Device, config: DecoderConfig, weights: DecoderWeights, linears: Linears, cache: KvCache) {
    this.#gpu = gpu;
    this.#config = config;
    this.#ids = tensorIn(gpu.memory.allocate("ids", 4), [1, 1], "U32");
    this.#tables = config.ropes.map(({ size }) => {
      const shape = [1, size / 2] as const;
      const matrix = (label: string) => tensorIn(gpu.memory.allocate(label, tensorBytes(shape, "F32")), shape, "F32");
      return { cos: matrix("cos"), sin: matrix("sin") };
    });
    const tables = this.#tables;
    this.#replay = new Replay(gpu, cache.capacity, (run, length) => {
      const past = { length, layer: (index: number) => cache.layer(index) };
      return recordPass(run, { config, weights, linears, tables, past }, this.#ids);
    });
  }

  /**
   * Sends the pass over the token at this position.
   * @param sequenceLength what RoPE that depends on the length goes by
   * @returns its hidden state, (1, hidden), which the next pass overwrites
   * @throws RandloraError `gpu`
   */
  async send(id: number, position: number, sequenceLength: number): Promise<Tensor> {
    write(this.#gpu, this.#ids, Uint32Array.of(id));
    this.#config.ropes.forEach((rope, index) => {
      const { cos, sin } = angles(rope, sequenceLength, [position]);
      const table = this.#tables[index];
      if (table === undefined) return;
      write(this.#gpu, table.cos, cos);
      write(this.#gpu, table.sin, sin);
    });
    await this.#replay.send(position);
    return this.#replay.result;
  }

  [Symbol.dispose](): void {
    this.#replay[Symbol.dispose]();
    for (const { buffer } of [this.#ids, ...this.#tables.flatMap(({ cos, sin }) => [cos, sin])]) {
      this.#gpu.memory.release(buffer);
    }
  }
}
