import type { Device } from "../../../compute/device/device.ts";
import type { KvDtype } from "../../../compute/device/dtype.ts";
import { RandloraError } from "../../../files/errors.ts";
import type { DecoderConfig } from "../config.ts";
import type { Slot } from "./slot.ts";
import { SlotPool } from "./slot-pool.ts";

/** Positions that no sequence has. */
const MOST = 2 ** 31;

/** One sequence that is computed for its own sake, as likelihoods are: the only slot of a pool, which grows as it is filled. */
export class KvCache implements Disposable {
  readonly slot: Slot;
  readonly #pool: SlotPool;

  constructor(device: Device, config: DecoderConfig, dtype: KvDtype = "F32") {
    this.#pool = new SlotPool(device, config, { positions: MOST, sequences: 1, dtype, isWhole: false });
    this.slot = this.#pool.acquire();
  }

  /** Positions that are filled. */
  get length(): number {
    return this.slot.length;
  }

  /** Bytes in the device's memory. */
  get bytes(): number {
    return this.#pool.bytes;
  }

  /**
   * Makes room for `positions` in all; see `SlotPool`.
   * @throws RandloraError `memory`
   */
  async reserve(positions: number): Promise<void> {
    const most = this.#pool.mostOf(1);
    if (positions > most) {
      const message = `keys and values of ${positions} tokens: this device binds those of ${most} at once`;
      throw new RandloraError("memory", message, "take fewer tokens at once (--context)");
    }
    await this.#pool.reserve(this.slot, positions, MOST);
  }

  [Symbol.dispose](): void {
    this.#pool[Symbol.dispose]();
  }
}
