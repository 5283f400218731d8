import { quantBytes } from "../../device/blocks.ts";
import type { KernelDtype, RoundedDtype } from "../../device/dtype.ts";

/** A general register, by number: `Machine.words` of them are there for a routine. */
export type Word = number;
/** A vector register, by number: `Machine.registers` of them, of `Machine.lanes` numbers of 32 bits. */
export type Lanes = number;

/** An address: what is in `word` and in `index`, plus `offset`. */
export interface At {
  readonly word: Word;
  readonly index?: Word;
  readonly offset?: number;
}

/** How many numbers an instruction moves: as a vector has; four, of which rows are whole multiples; one. */
export type Count = "all" | "four" | "one";
/** How the numbers of a matrix lie in memory. */
export type Stored = KernelDtype;
/** Bytes of a number. */
export const STORED_BYTES: Readonly<Record<Stored, number>> = { F32: 4, F16: 2, BF16: 2 };

/** The same of blocks of 32 whole numbers, whose scales lie elsewhere. */
export type Blocks = RoundedDtype;
/** Bytes of a block's whole numbers. */
export const BLOCK_BYTES: Readonly<Record<Blocks, number>> = { Q8_0: quantBytes("Q8_0"), Q4_0: quantBytes("Q4_0") };

/**
 * A processor as routines see it: what differs between AVX2, AVX-512, NEON and WebAssembly is behind it, above all how many numbers a vector has.
 * A routine takes its arguments from a list of 32-bit words; addresses in it count from the begin of the heap. It may use every
 * register, and changes none of them for its caller.
 */
export interface Machine {
  readonly lanes: number;
  readonly registers: number;
  readonly words: number;
  /** A tile of sums: so many rows, of so many vectors each. */
  readonly tile: { readonly rows: number; readonly vectors: number };

  /** Squares that are turned around and multiplied side by side: a sum waits for its last term, so one alone is slow. */
  readonly squares: number;

  /** Rows of x that are multiplied so at most, some at a time; a tile of more is faster, panels included. */
  readonly fewRows: number;

  /**
   * Where it is there, products with rows of a matrix sum along the terms (`along.ts`), since there are too few registers to turn
   * squares around in. It makes the first of four registers the sums of all lanes of each, in a fixed order.
   */
  readonly addLanes?: (first: Lanes) => void;

  /** Rows of a tile of whole numbers, which needs twice the registers. */
  readonly wholeRows: number;

  /** Ends a routine. */
  end(): void;
  /** What was written since this was asked last, which runs wherever it lies. */
  finish(): Uint8Array<ArrayBuffer>;

  /** word = the argument of this number. */
  argument(to: Word, index: number): void;
  /** word = the argument that lies so many bytes behind the one of this number. */
  argumentBehind(to: Word, index: number, bytes: Word): void;
  /** word = the argument of this number, as an address. */
  address(to: Word, index: number): void;
  /** word = the begin of the heap. */
  heap(to: Word): void;
  copy(to: Word, from: Word): void;
  zeroWord(to: Word): void;
  /** word = the 32 bits at an address. */
  loadWord(to: Word, at: At): void;
  /** Two words = the 32 bits at an address, and those behind them. */
  loadWords(first: Word, second: Word, at: At): void;
  add(to: Word, what: Word | { readonly bytes: number }): void;
  /** Runs the body while there are `step` left in `left`, and takes them off. */
  steps(left: Word, step: number, body: () => void): void;
  /** word = `most`, or what is left where that is less; it is taken off `left`. */
  take(to: Word, left: Word, most: number): void;

  zero(to: Lanes): void;
  load(to: Lanes, at: At, count?: Count): void;
  /** Brings the line at an address to the second cache; there need not be one. */
  prefetch(at: At): void;
  store(from: Lanes, at: At, count?: Count): void;
  /** Numbers of a format, as f32. */
  read(to: Lanes, at: At, stored: Stored, count?: Count): void;
  /** One number, to all lanes. */
  broadcast(to: Lanes, at: At): void;
  /** A number of the code's own, by its bits, to all lanes. */
  constant(to: Lanes, bits: number): void;
  broadcastArgument(to: Lanes, index: number): void;
  add32(to: Lanes, a: Lanes, b: Lanes): void;
  /** sum += what is at an address. */
  addFrom(sum: Lanes, at: At): void;
  multiply(to: Lanes, a: Lanes, b: Lanes): void;
  /** sum += a · b, rounded once; by WebAssembly twice, on every processor. */
  fma(sum: Lanes, a: Lanes, b: Lanes): void;
  /** sum += a · the number at an address, rounded as by `fma`. Loses `temporary`. */
  fmaOf(sum: Lanes, a: Lanes, at: At, temporary: Lanes): void;
  divide(to: Lanes, a: Lanes, b: Lanes): void;
  squareRoot(to: Lanes, from: Lanes): void;
  /** All lanes = the sum of the first four: the first and the third, the second and the fourth, and then these. Loses `temporary`. */
  sumFour(lanes: Lanes, temporary: Lanes): void;
  subtract(to: Lanes, a: Lanes, b: Lanes): void;
  and(to: Lanes, a: Lanes, b: Lanes): void;
  or(to: Lanes, a: Lanes, b: Lanes): void;
  /** to = a, without the bits that are set in b. */
  andNot(to: Lanes, a: Lanes, b: Lanes): void;
  /** The larger one; a value that is no number changes nothing. */
  largest(to: Lanes, most: Lanes, value: Lanes): void;
  /** The larger, the smaller one; a value that is no number stays. */
  atLeast(to: Lanes, value: Lanes, bound: Lanes): void;
  atMost(to: Lanes, value: Lanes, bound: Lanes): void;
  /** All bits of the lanes where a is less than b, none where it is not or one is no number. */
  less(to: Lanes, a: Lanes, b: Lanes): void;
  /** Of 32 bits; to the right with the sign. */
  shiftLeft(to: Lanes, from: Lanes, bits: number): void;
  shiftRight(to: Lanes, from: Lanes, bits: number): void;
  /** The larger of whole numbers of 32 bits; of numbers that are not negative, as f32, the same. */
  larger(to: Lanes, a: Lanes, b: Lanes): void;
  /** sum += the products of pairs of 16 bits, added within each lane. */
  addPairs(sum: Lanes, a: Lanes, b: Lanes, temporary: Lanes): void;
  /** The products of pairs of 16 bits with those in memory, added within each lane. */
  multiplyPairs(to: Lanes, a: Lanes, at: At): void;
  addWhole(to: Lanes, a: Lanes, b: Lanes): void;
  subtractWhole(to: Lanes, a: Lanes, b: Lanes): void;
  /** Register 0 = the sums of all lanes of registers 0 to lanes − 1, whole numbers, one beside the other. The others are lost, and one more. */
  sumLanes(temporary: Lanes): void;
  /** Whole numbers as f32. */
  fromWhole(to: Lanes, from: Lanes): void;
  /** Stores f32 as whole numbers of 16 bits, rounded to the nearest, ties to even. Loses the register. */
  storeWhole(from: Lanes, at: At): void;
  /**
   * Pairs of a block's whole numbers, of 16 bits each: the `part` of them that a vector holds, from the block's begin at `at`.
   * @param constants 15 and 8 in every byte, and a register that is lost
   */
  readPairs(to: Lanes, at: At, blocks: Blocks, part: number, constants: readonly [Lanes, Lanes, Lanes]): void;
  /**
   * Whole numbers of a block, from `at` on, as f32.
   * @param high of Q4_0: those in the upper halves of bytes
   * @param constants 15 and 8 in every lane
   */
  readWhole(to: Lanes, at: At, blocks: Blocks, high: boolean, constants: readonly [Lanes, Lanes]): void;
  /** One IEEE half, to all lanes, as f32. */
  broadcastHalf(to: Lanes, at: At): void;
  /** The lower and the upper 16 bits of each lane, as BF16 numbers in f32. */
  lowerHalves(to: Lanes, from: Lanes): void;
  upperHalves(to: Lanes, from: Lanes): void;
  /** Turns registers 0 to lanes − 1 around; returns the registers that have their columns. All others are lost. */
  transpose(): Lanes[];
  /** The same of rows of 32-bit numbers in memory; `rowAt` is asked once for each, in their order. All registers are lost. */
  loadTransposed(rowAt: (row: number) => At): Lanes[];
}
