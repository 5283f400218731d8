// Routines that are written for one method of a machine, with a few numbers to work on.
import type { Machine } from "../machine.ts";
import { GuardedHeap } from "./guarded.ts";
import { noise } from "./numbers.ts";
import { routine, type Writer } from "./routine.ts";

export { WRITERS } from "./routine.ts";

/** Words of each operand; results begin behind three of them. */
export const ROOM = 1024;
export const NONE = 0x7fc00000;

/** Words that come of words by a routine, which is given the addresses of a, b, c and of the results in words 0 to 3. */
export function run(
  code: Writer,
  write: (m: Machine) => void,
  [a, b, c]: readonly ArrayLike<number>[] = [],
  args: readonly number[] = [],
): Readonly<Record<"words" | "whole" | "floats" | "shorts", readonly number[]>> {
  using heap = new GuardedHeap(2 ** 16);
  const at = heap.part(4 * ROOM * 4, "begin");
  const set = (from: ArrayLike<number> | undefined, part: number) => {
    if (from instanceof Uint8Array) heap.bytes.set(from, at + part * ROOM * 4);
    else if (from instanceof Float32Array) heap.floats.set(from, at / 4 + part * ROOM);
    else if (from !== undefined) heap.words().set(Array.from(from), at / 4 + part * ROOM);
  };
  [a, b, c].forEach(set);
  const call = routine(code, heap, (m) => {
    for (let part = 0; part < 4; part++) m.address(part, part);
    write(m);
  });
  call(...[0, 1, 2, 3].map((part) => at + part * ROOM * 4), ...args);
  const words = heap.words().slice(at / 4 + 3 * ROOM, at / 4 + 4 * ROOM);
  const as = (view: ArrayLike<number>) => Array.from(view);
  const { buffer } = words;
  return {
    words: as(words),
    whole: as(new Int32Array(buffer)),
    floats: as(new Float32Array(buffer)),
    shorts: as(new Int16Array(buffer)),
  };
}

export const [A, B, C, TO] = [{ word: 0 }, { word: 1 }, { word: 2 }, { word: 3 }];
export const lanesOf = (code: Writer) => ({ wasm: 4, neon: 4, avx2: 8, avx512: 16 })[code];
/** Numbers whose products and sums are exact, so that they are the same however they are rounded. */
export const exact = (turn: number) =>
  Float32Array.from({ length: 64 }, (_, at) => Math.round(noise(at, turn) * 64) / 4);
export const bits = (from: Float32Array) => new Uint32Array(from.buffer);
export const words = (turn: number) => Uint32Array.from({ length: 64 }, (_, at) => noise(at, turn) * 2 ** 31);
