import { philox4x32, philoxKey } from "../../compute/random/philox.ts";

/** What an order is drawn for: orders for different purposes are independent, whatever the seed. */
export type ShufflePurpose = "epoch" | "split" | "packing" | "shots" | "fraction" | "analysis";
const STREAMS: Record<ShufflePurpose, number> = {
  epoch: 0x65706f63,
  split: 0x73706c69,
  packing: 0x7061636b,
  shots: 0x73686f74,
  fraction: 0x66726163,
  analysis: 0x616e616c,
};

/**
 * A random order of 0 … length − 1 (Fisher and Yates), a function of its arguments alone: element i of the shuffle is
 * drawn from philox at counter (i, number, purpose, 0) under the key `seed`.
 *
 * @param number which order of this purpose: the epoch, from 0
 */
export function shuffled(length: number, seed: bigint, purpose: ShufflePurpose, number = 0): Uint32Array {
  const key = philoxKey(seed);
  const order = Uint32Array.from({ length }, (_, i) => i);
  const words = new Uint32Array(4);
  for (let i = length - 1; i > 0; i--) {
    philox4x32(words, [i, number, STREAMS[purpose], 0], key);
    // 53 random bits: the bias is below i / 2^53, and the product is the same on every machine.
    const unit = ((words[0] ?? 0) * 2 ** 21 + ((words[1] ?? 0) >>> 11)) / 2 ** 53;
    const j = Math.floor(unit * (i + 1));
    const moved = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = moved;
  }
  return order;
}
