import { createHash } from "node:crypto";
import { philox4x32, philoxKey } from "../../../compute/random/philox.ts";
import type { Threshold } from "./threshold.ts";

/** Decides of elements of one ΔW, asked for one after the other from the first on, what they are multiplied by. */
export type Keep = (value: number, index: number) => number;

/** All of them. */
export const keepAll: Keep = () => 1;

/** The largest ones: 1 or 0. */
export function keepLargest({ magnitude, ties }: Threshold): Keep {
  let left = ties;
  return (value) => {
    const size = Math.abs(value);
    if (size !== magnitude) return size > magnitude ? 1 : 0;
    return left-- > 0 ? 1 : 0;
  };
}

/** What decides which elements of a ΔW are dropped. */
export interface Drop {
  /** Probability that an element is kept; those that are, are divided by it. */
  readonly density: number;
  readonly seed: number;
  /** The weight's name in the checkpoint, and the adapter's number on the command line. */
  readonly tensor: string;
  readonly adapter: number;
}

/**
 * DARE (Yu et al., arXiv:2311.03099): element e is kept where word e mod 4 of Philox4x32-10's block with the counter (⌊e/4⌋ mod 2³²,
 * ⌊e/4⌋ div 2³², the first four bytes of the tensor's name's SHA-256 as a little-endian number, the adapter's number) and
 * the seed as key is below density · 2³².
 */
export function keepAtRandom({ density, seed, tensor, adapter }: Drop): Keep {
  const key = philoxKey(BigInt(seed));
  const stream = createHash("sha256").update(tensor).digest().readUInt32LE();
  const limit = density * 2 ** 32;
  const words = new Uint32Array(4);
  let drawn = -1;
  return (_, index) => {
    const block = Math.floor(index / 4);
    if (block !== drawn) philox4x32(words, [block % 2 ** 32, Math.floor(block / 2 ** 32), stream, adapter], key);
    drawn = block;
    return (words[index % 4] as number) < limit ? 1 / density : 0;
  };
}
