import { type Pointer, ptr } from "bun:ffi";
import type { Program, Routines } from "./program.ts";

/** Words of a worker's scratch that a routine's arguments take, from its begin on. */
const ARGUMENTS = 128;

/** Functions of the WebAssembly module that kernels of routines begin or end with. */
export interface ModuleParts {
  readonly normedRows: (parameters: number, piece: number, scratch: number) => void;
  readonly basisRows: (
    basis: number,
    row: number,
    rows: number,
    first: number,
    terms: number,
    to: number,
    pitch: number,
  ) => void;
  readonly listRows: (
    codes: number,
    pitch: number,
    rows: number,
    terms: number,
    termBytes: number,
    to: number,
    end: number,
  ) => number;
  readonly loadRows: (
    format: number,
    row: number,
    pitch: number,
    scales: number,
    scalesPitch: number,
    rows: number,
    first: number,
    count: number,
    to: number,
    step: number,
  ) => void;
  readonly deltaGate: (parameters: number, token: number, head: number, to: number) => void;
  readonly foldRows: (parameters: number, piece: number, row: number, rows: number, slopes: number) => void;
}

/** Calls a routine, by number, with a list of arguments so many bytes behind the heap's begin. */
type Enter = (list: number, routine: number) => void;

/** Routines as a thread calls them. */
export interface Code extends Omit<Program, "count" | "write"> {
  enterOn(heap: NativeHeap): Enter;
}

/** Memory that routines work in. */
export interface NativeHeap {
  readonly memory: WebAssembly.Memory;
  readonly address: Pointer;
  /** Its words, up to this byte at least: it grows while others compute. */
  words(end: number): Uint32Array;
}

/** A memory never moves: its addresses are reserved to its largest size. */
export function heapOf(memory: WebAssembly.Memory): NativeHeap {
  let words = new Uint32Array(memory.buffer);
  return {
    memory,
    get address() {
      return ptr(new Uint8Array(memory.buffer));
    },
    words(end) {
      if (words.length * 4 < end) words = new Uint32Array(memory.buffer);
      return words;
    },
  };
}

/** The words of a command's parameters, by their places. */
export type ParameterWords = (index: number) => number;

/** Calls routines on one heap, from one thread. */
export class Caller {
  readonly code: Code;
  readonly routines: Routines;
  /** This thread's scratch, which begins with the arguments. */
  readonly begin: number;
  /** Where scratch is free, in bytes from the heap's begin. */
  readonly scratch: number;
  readonly parts: ModuleParts;
  readonly #memory: NativeHeap;
  readonly #enter: Enter;

  /** @param scratch of this thread, in bytes from the heap's begin */
  constructor(code: Code, heap: NativeHeap, scratch: number, parts: ModuleParts) {
    this.parts = parts;
    this.begin = scratch;
    this.code = code;
    this.routines = code.routines;
    this.#memory = heap;
    this.scratch = scratch + ARGUMENTS * 4;
    this.#enter = code.enterOn(heap);
  }

  /** The heap's words up to this byte at least. */
  words(end: number): Uint32Array {
    return this.#memory.words(end);
  }

  reader(parameters: number, count: number): ParameterWords {
    const words = this.words(parameters + count * 4);
    return (index) => words[parameters / 4 + index] ?? 0;
  }

  /** Arguments that stand behind those of the next call, from number `index` on. */
  set(index: number, count: number, value: (at: number) => number): void {
    const words = this.words(0);
    const first = this.begin / 4 + index;
    for (let at = 0; at < count; at++) words[first + at] = value(at);
  }

  /** The same of a row of numbers: first, and so many times `step` more, up to `last` times. */
  setSteps(index: number, count: number, first: number, step: number, last: number): void {
    const words = this.words(0);
    const begin = this.begin / 4 + index;
    for (let at = 0; at < count; at++) words[begin + at] = first + Math.min(at, last) * step;
  }

  /** Runs a routine with up to twelve arguments: rest parameters would make an array for each of millions of calls. */
  call(
    routine: number,
    a?: number,
    b?: number,
    c?: number,
    d?: number,
    e?: number,
    f?: number,
    g?: number,
    h?: number,
    i?: number,
    j?: number,
    k?: number,
    l?: number,
  ): void {
    const words = this.words(0);
    const first = this.begin / 4;
    if (a !== undefined) words[first] = a;
    if (b !== undefined) words[first + 1] = b;
    if (c !== undefined) words[first + 2] = c;
    if (d !== undefined) words[first + 3] = d;
    if (e !== undefined) words[first + 4] = e;
    if (f !== undefined) words[first + 5] = f;
    if (g !== undefined) words[first + 6] = g;
    if (h !== undefined) words[first + 7] = h;
    if (i !== undefined) words[first + 8] = i;
    if (j !== undefined) words[first + 9] = j;
    if (k !== undefined) words[first + 10] = k;
    if (l !== undefined) words[first + 11] = l;
    this.#enter(this.begin, routine);
  }
}
