import { Mt19937 } from "./mt19937.ts";

/**
 * `torch.randperm(length, generator=torch.Generator().manual_seed(seed))` on the CPU, which `random_split` draws from:
 * Fisher and Yates from the front, one 32-bit draw an element (ATen/native/TensorFactories.cpp).
 *
 * @param length below 2^32 / 20, from where torch draws 64 bits
 */
export function torchRandperm(length: number, seed: bigint): Uint32Array {
  const order = Uint32Array.from({ length }, (_, i) => i);
  const draws = new Uint32Array(Math.max(0, length - 1));
  new Mt19937(seed).draw(draws);
  for (const [i, draw] of draws.entries()) {
    const j = i + (draw % (length - i));
    const moved = order[i] as number;
    order[i] = order[j] as number;
    order[j] = moved;
  }
  return order;
}
