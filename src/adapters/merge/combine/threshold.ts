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
