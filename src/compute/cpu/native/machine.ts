import type { Label } from "./code.ts";

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
export type Stored = "F32" | "F16" | "BF16";
/** Bytes of a number. */
export const STORED_BYTES: Readonly<Record<Stored, number>> = { F32: 4, F16: 2, BF16: 2 };
/** Formats as the parameters of kernels number them. */
export const STORED: readonly Stored[] = ["F32", "F16", "BF16"];

/**
 * A processor as routines see it: what differs between AVX2, AVX-512 and NEON is behind it, above all how many numbers a vector has.
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

  /** A routine's begin, which a multiple of 16 bytes is; returns where it is. */
  begin(): number;
  end(): void;
  /** All of the code. */
  finish(): Uint8Array<ArrayBuffer>;

  /** word = the argument of this number. */
  argument(to: Word, index: number): void;
  /** The same as an address. */
  address(to: Word, index: number): void;
  /** word = the begin of the heap. */
  heap(to: Word): void;
  copy(to: Word, from: Word): void;
  zeroWord(to: Word): void;
  add(to: Word, what: Word | { readonly bytes: number }): void;
  place(label: Label): void;
  /** Runs the body while there are `step` left in `left`, and takes them off. */
  steps(left: Word, step: number, body: () => void): void;

  zero(to: Lanes): void;
  load(to: Lanes, at: At, count?: Count): void;
  /** The line at an address will be read soon; there need not be one. */
  prefetch(at: At): void;
  store(from: Lanes, at: At, count?: Count): void;
  /** Numbers of a format, as f32. */
  read(to: Lanes, at: At, stored: Stored, count?: Count): void;
  /** One number, to all lanes. */
  broadcast(to: Lanes, at: At): void;
  broadcastArgument(to: Lanes, index: number): void;
  add32(to: Lanes, a: Lanes, b: Lanes): void;
  multiply(to: Lanes, a: Lanes, b: Lanes): void;
  /** sum += a · b, rounded once. */
  fma(sum: Lanes, a: Lanes, b: Lanes): void;
  /** The lower and the upper 16 bits of each lane, as BF16 numbers in f32. */
  lowerHalves(to: Lanes, from: Lanes): void;
  upperHalves(to: Lanes, from: Lanes): void;
  /** Turns registers 0 to lanes − 1 around; returns the registers that have their columns. All others are lost. */
  transpose(): Lanes[];
}
