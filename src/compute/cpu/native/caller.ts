import { linkSymbols, type Pointer, ptr } from "bun:ffi";
import type { NativeCode } from "./on-demand.ts";
import { ENTER, type Routines } from "./program.ts";

/** Words of a worker's scratch that a routine's arguments take, from its begin on. */
const ARGUMENTS = 128;

/** Functions of the WebAssembly module that kernels of machine code begin or end with. */
export interface ModuleParts {
  readonly normedRows: (parameters: number, piece: number, scratch: number) => void;
  readonly gatedRows: (parameters: number, piece: number, scratch: number) => void;
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
  readonly foldRows: (parameters: number, piece: number, row: number, rows: number, slopes: number) => void;
}

/** Calls the routine at an address, with a list of arguments so many bytes behind the heap's begin. */
type Enter = (heap: Pointer, list: number, routine: Pointer) => void;

/** Memory that routines work in. */
export interface NativeHeap {
  readonly address: Pointer;
  /** Its words, up to this byte at least: it grows while others compute. */
  words(end: number): Uint32Array;
}

/** A memory never moves: its addresses are reserved to its largest size. */
export function heapOf(memory: WebAssembly.Memory): NativeHeap {
  let words = new Uint32Array(memory.buffer);
  return {
    address: ptr(new Uint8Array(memory.buffer)),
    words(end) {
      if (words.length * 4 < end) words = new Uint32Array(memory.buffer);
      return words;
    },
  };
}

/** Calls routines on one heap, from one thread. */
export class Caller {
  readonly code: NativeCode;
  readonly routines: Routines;
  /** This thread's scratch, the arguments included. */
  readonly begin: number;
  /** Where scratch is free, in bytes from the heap's begin. */
  readonly scratch: number;
  readonly parts: ModuleParts;
  readonly #memory: NativeHeap;
  readonly #arguments: number;
  readonly #enter: Enter;

  /** @param scratch of this thread, in bytes from the heap's begin */
  constructor(code: NativeCode, heap: NativeHeap, scratch: number, parts: ModuleParts) {
    this.parts = parts;
    this.begin = scratch;
    this.code = code;
    this.routines = code.routines;
    this.#memory = heap;
    this.#arguments = scratch;
    this.scratch = scratch + ARGUMENTS * 4;
    const { symbols } = linkSymbols({
      enter: { ptr: code.addressOf(ENTER), args: ["ptr", "u32", "ptr"], returns: "void" },
    });
    this.#enter = symbols.enter;
  }

  /** The heap's words up to this byte at least. */
  words(end: number): Uint32Array {
    return this.#memory.words(end);
  }

  /** The words of a command's parameters, by their places. */
  reader(parameters: number, count: number): (index: number) => number {
    const words = this.words(parameters + count * 4);
    return (index) => words[parameters / 4 + index] ?? 0;
  }

  /** Arguments that stand behind those of the next call, from number `index` on. */
  set(index: number, count: number, value: (at: number) => number): void {
    const words = this.words(0);
    const first = this.#arguments / 4 + index;
    for (let at = 0; at < count; at++) words[first + at] = value(at);
  }

  call(routine: number, ...values: readonly number[]): void {
    const words = this.words(0);
    const first = this.#arguments / 4;
    for (let at = 0; at < values.length; at++) words[first + at] = values[at] ?? 0;
    this.#enter(this.#memory.address, this.#arguments, this.code.addressOf(routine));
  }
}
