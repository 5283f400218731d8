import { createHash } from "node:crypto";
import { philox4x32, philoxKey } from "../../../compute/random/philox.ts";

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
interface Drop {
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

/** Which elements of a matrix are kept: those above the threshold, and of those that equal it the first `ties`. */
export interface Threshold {
  readonly magnitude: number;
  readonly ties: number;
}

/** Hands over all elements of a matrix, part by part, the same in every pass. */
export type Pass = (visit: (values: Float32Array) => void) => Promise<void>;

/** Bits of an f32 without its sign: these first, then the other ones. */
const HIGH_BITS = 16;
const LOW_BITS = 15;

/**
 * The magnitude that exactly `count` elements reach, in two passes over the matrix and the memory of two histograms: f32
 * without their sign have the order of their bits.
 */
export async function thresholdOf(pass: Pass, count: number): Promise<Threshold> {
  if (count === 0) return { magnitude: Infinity, ties: 0 };
  const high = await histogram(pass, HIGH_BITS, (bits) => bits >>> LOW_BITS);
  const outer = place(high, count);
  const low = await histogram(pass, LOW_BITS, (bits) =>
    bits >>> LOW_BITS === outer.bin ? bits & ((1 << LOW_BITS) - 1) : undefined,
  );
  const inner = place(low, count - outer.above);
  const bits = Uint32Array.of((outer.bin << LOW_BITS) | inner.bin);
  const [magnitude = 0] = new Float32Array(bits.buffer);
  return { magnitude, ties: count - outer.above - inner.above };
}

async function histogram(pass: Pass, bits: number, binOf: (bits: number) => number | undefined): Promise<Uint32Array> {
  const counts = new Uint32Array(1 << bits);
  await pass((values) => {
    const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
    for (const word of words) {
      const bin = binOf(word & 0x7fffffff);
      if (bin !== undefined) counts[bin] = (counts[bin] as number) + 1;
    }
  });
  return counts;
}

/** The bin that holds the element of this rank, the largest being the first; and how many lie above it. */
function place(counts: Uint32Array, rank: number): { readonly bin: number; readonly above: number } {
  let above = 0;
  for (let bin = counts.length - 1; bin >= 0; bin--) {
    const here = counts[bin] as number;
    if (above + here >= rank) return { bin, above };
    above += here;
  }
  throw new RangeError(`${above} elements, of which ${rank} are to be kept`);
}
