import { type CpuCommand, heapOf } from "./commands.ts";
import type { Block, Heaps } from "./heap.ts";
import type { ListRoom } from "./list-blocks.ts";
import { COMMAND, COMMAND_WORDS, COPY, COPY_KERNEL, COPY_WORDS, FILL_KERNEL } from "./layout.ts";
import { fmaName } from "./native/kernels/names.ts";
import { cpuBuffer } from "./memory.ts";
import type { PlacedPointer } from "./parameters.ts";

/** A list as workers read it. */
export interface EncodedList {
  /** Where it begins in heap 0. */
  readonly at: number;
  readonly count: number;
  /** It as it is in heap 0: COMMAND_WORDS words a command. */
  readonly words: Uint32Array;
  /** What it lies in, to be given back when it has run. */
  readonly blocks: readonly Block[];
}

/** Where the parameters of a list's commands go, which is the same each time it is sent. */
interface Layout {
  /** By command: its heap, and the word of it there. */
  readonly homes: readonly number[];
  readonly places: readonly number[];
  /** By command: `COMMAND.together`. */
  readonly together: readonly number[];
  /** Words in each heap. */
  readonly ends: ReadonlyMap<number, number>;
}

const layouts = new WeakMap<readonly CpuCommand[], Layout>();

function layoutOf(commands: readonly CpuCommand[]): Layout {
  const known = layouts.get(commands);
  if (known !== undefined) return known;
  const ends = new Map<number, number>([[0, commands.length * COMMAND_WORDS]]);
  const homes = commands.map(homeOf);
  const places = commands.map(({ kernel, words }, index) => {
    const heap = homes[index] ?? 0;
    const at = ends.get(heap) ?? 0;
    ends.set(heap, at + (kernel === "copy" ? COPY_WORDS : words.length));
    return at;
  });
  const together = commands.map(() => 1);
  for (let index = commands.length - 2; index >= 0; index--) {
    if (commands[index]?.pieces === 1 && commands[index + 1]?.pieces === 1)
      together[index] = 1 + (together[index + 1] ?? 0);
  }
  const layout = { homes, places, ends, together };
  layouts.set(commands, layout);
  return layout;
}

/**
 * Writes commands and their parameters, each in the heap that it works on.
 * @param lists where they lie
 * @param latest entries of the queue up to this number have run
 * @returns undefined where there is no room for them
 */
export function encode(
  heaps: Heaps,
  lists: ListRoom,
  numbers: ReadonlyMap<string, number>,
  commands: readonly CpuCommand[],
  latest: number,
): EncodedList | undefined {
  const { homes, places, ends, together } = layoutOf(commands);
  const areas = new Map<number, { readonly block: Block; readonly words: Uint32Array }>();
  const blocks: Block[] = [];
  for (const [heap, words] of ends) {
    const block = lists.take(heap, words * 4, latest);
    if (block === undefined) {
      lists.give(blocks);
      return undefined;
    }
    blocks.push(block);
    const buffer = heaps.memories[heap]?.buffer ?? new ArrayBuffer();
    areas.set(heap, { block, words: new Uint32Array(buffer, block.at, words) });
  }
  const words = areas.get(0)?.words ?? new Uint32Array();
  for (let index = 0; index < commands.length; index++) {
    const command = commands[index];
    const [heap, at] = [homes[index] ?? 0, places[index] ?? 0];
    const area = areas.get(heap);
    if (command === undefined || area === undefined) continue;
    writeParameters(command, area.words, at);
    const entry = index * COMMAND_WORDS;
    words[entry + COMMAND.kernel] = numberOf(command, numbers);
    words[entry + COMMAND.heap] = heap;
    words[entry + COMMAND.parameters] = area.block.at + at * 4;
    words[entry + COMMAND.pieces] = command.pieces;
    words[entry + COMMAND.taken] = 0;
    words[entry + COMMAND.ticks] = 0;
    words[entry + COMMAND.together] = together[index] ?? 1;
  }
  return { at: areas.get(0)?.block.at ?? 0, count: commands.length, words, blocks };
}

/** The heap that a command's parameters lie in. */
function homeOf({ kernel, pointers: [first] }: CpuCommand): number {
  return kernel === "copy" || first === undefined ? 0 : heapOf(first);
}

function numberOf({ kernel }: CpuCommand, numbers: ReadonlyMap<string, number>): number {
  if (kernel === "copy") return COPY_KERNEL;
  if (kernel === "fill") return FILL_KERNEL;
  const number = numbers.get(kernel.fma === true ? fmaName(kernel.name) : kernel.name);
  if (number === undefined) throw new Error(`the module has no kernel ${kernel.name}`);
  return number;
}

/** Parameters with addresses in place of offsets, from word `at` on. */
function writeParameters({ kernel, words, pointers }: CpuCommand, to: Uint32Array, at: number): void {
  if (kernel === "copy") {
    const [from, target] = pointers;
    if (from === undefined || target === undefined) return;
    to[at + COPY.fromHeap] = heapOf(from);
    to[at + COPY.from] = (words[0] ?? 0) + addressOf(from);
    to[at + COPY.toHeap] = heapOf(target);
    to[at + COPY.to] = (words[1] ?? 0) + addressOf(target);
    to[at + COPY.bytes] = words[2] ?? 0;
    return;
  }
  to.set(words, at);
  for (const pointer of pointers) to[at + pointer.word] = (words[pointer.word] ?? 0) + addressOf(pointer);
}

function addressOf({ buffer }: PlacedPointer): number {
  return cpuBuffer(buffer).block?.at ?? 0;
}
