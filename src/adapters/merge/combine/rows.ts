import type { Device } from "../../../compute/device/device.ts";
import { padded4 } from "../../../compute/device/families/delta.ts";
import { repitched } from "../../../compute/tensor/repitch.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { AdaptedLayer } from "../../base/targets.ts";
import type { LayerDelta, StoredWeight } from "../../method/plan.ts";
import { splitRows } from "../stored-weight.ts";
import { formRows } from "../in-memory/deltas.ts";
import { type Combination, electsSign, isRandom, type MajoritySign } from "../to-files/options.ts";
import { createHash } from "node:crypto";
import { philox4x32, philoxKey } from "../../../compute/random/philox.ts";

/** What becomes of one element of several ΔW, of which some were left out before. */
interface Formula {
  readonly combination: Combination;
  readonly majoritySign: MajoritySign;
}

/**
 * One element of the combination: Σ wᵢtᵢ; or, where signs are elected, the mean of those wᵢtᵢ whose tᵢ has the sign of most
 * (Yadav et al., arXiv:2306.01708; peft/utils/merge_utils.py, 0.21.2, where weights have no say in the election, and a
 * sum of zero elects the plus).
 * @param kept tᵢ, 0 where it is left out
 */
export function combined(
  { combination, majoritySign }: Formula,
  kept: ArrayLike<number>,
  weights: readonly number[],
): number {
  let sum = 0;
  if (!electsSign(combination)) {
    for (let i = 0; i < kept.length; i++) sum += itemAt(weights, i) * itemAt(kept, i);
    return sum;
  }
  const sign = vote(kept, majoritySign) >= 0 ? 1 : -1;
  let count = 0;
  for (let i = 0; i < kept.length; i++) {
    const value = itemAt(kept, i);
    if (Math.sign(value) !== sign) continue;
    sum += itemAt(weights, i) * value;
    count++;
  }
  return sum / Math.max(1, count);
}

/** Whose sign is that of most. */
function vote(kept: ArrayLike<number>, majoritySign: MajoritySign): number {
  let votes = 0;
  for (let i = 0; i < kept.length; i++) {
    votes += majoritySign === "total" ? itemAt(kept, i) : Math.sign(itemAt(kept, i));
  }
  return votes;
}

/** How adapters are combined; lists are in their order. */
export interface CombineOptions extends Formula {
  readonly weights: readonly number[];
  /** Parts of each ΔW that are kept, up to 1. */
  readonly densities: readonly number[];
  /** Of what is kept at random. */
  readonly seed: number;
}

/** A weight that adapters change, and their layers of it. */
export interface CombinedLayer {
  readonly layer: AdaptedLayer;
  readonly parts: readonly { readonly adapter: number; readonly index: number }[];
}

/**
 * Combines ΔW of one weight on the processor: the largest elements of a ΔW are known once all of it was formed, so each is
 * formed again, block by block, and the result held, one f32 for each element of the weight.
 * @returns what records a block of it, and the thresholds, none where all or random elements are kept
 */
export async function combineRows(
  gpu: Device,
  { layer: { tensor }, parts }: CombinedLayer,
  deltas: readonly LayerDelta[],
  { rows, cols }: StoredWeight,
  options: CombineOptions,
): Promise<{ readonly found: readonly Threshold[]; readonly rows: LayerDelta["form"] }> {
  const blocks = splitRows(rows, padded4(cols) * 4);
  const found: Threshold[] = [];
  const keeps: Keep[] = [];
  for (const [at, { adapter }] of parts.entries()) {
    const density = itemAt(options.densities, adapter);
    if (density < 1 && !isRandom(options.combination)) {
      const pass = async (visit: (values: Float32Array) => void) => {
        for (const block of blocks) visit(await formRows(gpu, itemAt(deltas, at), { ...block, cols }));
      };
      found.push(await thresholdOf(pass, Math.floor(density * rows * cols)));
    } else found.push({ magnitude: 0, ties: Infinity });
    keeps.push(keepOf(options, tensor, adapter, itemAt(found, at)));
  }
  const weights = parts.map(({ adapter }) => itemAt(options.weights, adapter));
  // By block: one array holds 2³⁰ numbers at most.
  const results: { readonly firstRow: number; readonly rows: number; readonly values: Float32Array<ArrayBuffer> }[] =
    [];
  const kept = new Float64Array(parts.length);
  for (const block of blocks) {
    const formed: Float32Array[] = [];
    for (const delta of deltas) formed.push(await formRows(gpu, delta, { ...block, cols }));
    const first = block.firstRow * cols;
    const values = new Float32Array(block.rows * cols);
    results.push({ ...block, values });
    for (let at = 0; at < block.rows * cols; at++) {
      for (let i = 0; i < kept.length; i++) {
        const value = formed[i]?.[at] as number;
        kept[i] = value * (keeps[i] as Keep)(value, first + at);
      }
      values[at] = combined(options, kept, weights);
    }
  }
  return {
    found,
    rows: (run, { firstRow, rows: count, pitch, target, accumulate = false }) => {
      if (accumulate) throw new TypeError(`${tensor}: a combination is all of a weight's ΔW`);
      for (const { firstRow: begin, rows: all, values } of results) {
        const [from, to] = [Math.max(firstRow, begin), Math.min(firstRow + count, begin + all)];
        if (from >= to) continue;
        const part = values.subarray((from - begin) * cols, (to - begin) * cols);
        const bytes = new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
        run.device.write(target, repitched(bytes, to - from, cols * 4, pitch * 4), (from - firstRow) * pitch * 4);
      }
    },
  };
}

/** What decides about one adapter's elements. @param adapter its number */
export function keepOf(
  { combination, densities, seed }: CombineOptions,
  tensor: string,
  adapter: number,
  threshold: Threshold,
): Keep {
  const density = itemAt(densities, adapter);
  if (density >= 1) return keepAll;
  return isRandom(combination) ? keepAtRandom({ density, seed, tensor, adapter }) : keepLargest(threshold);
}

/** Decides of elements of one ΔW, asked for one after the other from the first on, what they are multiplied by. */
type Keep = (value: number, index: number) => number;

/** All of them. */
const keepAll: Keep = () => 1;

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
type Pass = (visit: (values: Float32Array) => void) => Promise<void>;

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
