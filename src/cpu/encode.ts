import { type CpuCommand, heapOf } from "./commands.ts";
import type { Block, Heaps } from "./heap.ts";
import { COMMAND, COMMAND_WORDS, COPY, COPY_KERNEL, FILL_KERNEL } from "./layout.ts";
import { cpuBuffer } from "./memory.ts";

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

/**
 * Writes commands and their parameters, each in the heap that it works on.
 * @param latest entries of the queue up to this number have run
 */
export function encode(
  heaps: Heaps,
  numbers: ReadonlyMap<string, number>,
  commands: readonly CpuCommand[],
  latest: number,
): EncodedList {
  const places: { heap: number; at: number }[] = [];
  const ends = new Map<number, number>([[0, commands.length * COMMAND_WORDS]]);
  for (const command of commands) {
    const heap = homeOf(command);
    const at = ends.get(heap) ?? 0;
    ends.set(heap, at + (command.kernel === "copy" ? 5 : command.words.length));
    places.push({ heap, at });
  }
  const areas = new Map(
    [...ends].map(([heap, words]) => {
      const { block } = heaps.take("commands", words * 4, { heap, latest });
      return [
        heap,
        { block, words: new Uint32Array(heaps.memories[heap]?.buffer ?? new ArrayBuffer(), block.at, words) },
      ];
    }),
  );
  const list = areas.get(0);
  commands.forEach((command, index) => {
    const { heap, at } = places[index] ?? { heap: 0, at: 0 };
    const area = areas.get(heap);
    if (area === undefined || list === undefined) return;
    area.words.set(resolved(command), at);
    const entry = index * COMMAND_WORDS;
    list.words[entry + COMMAND.kernel] = numberOf(command, numbers);
    list.words[entry + COMMAND.heap] = heap;
    list.words[entry + COMMAND.parameters] = area.block.at + at * 4;
    list.words[entry + COMMAND.pieces] = command.pieces;
    list.words[entry + COMMAND.taken] = 0;
    list.words[entry + COMMAND.ticks] = 0;
  });
  return {
    at: list?.block.at ?? 0,
    count: commands.length,
    words: list?.words ?? new Uint32Array(),
    blocks: [...areas.values()].map(({ block }) => block),
  };
}

/** The heap that a command's parameters lie in. */
function homeOf({ kernel, pointers: [first] }: CpuCommand): number {
  return kernel === "copy" || first === undefined ? 0 : heapOf(first);
}

function numberOf({ kernel }: CpuCommand, numbers: ReadonlyMap<string, number>): number {
  if (kernel === "copy") return COPY_KERNEL;
  if (kernel === "fill") return FILL_KERNEL;
  const number = numbers.get(kernel.name);
  if (number === undefined) throw new Error(`the module has no kernel ${kernel.name}`);
  return number;
}

/** Parameters with addresses in place of offsets. */
function resolved({ kernel, words, pointers }: CpuCommand): Uint32Array {
  const placed = words.slice();
  for (const { word, buffer } of pointers) placed[word] = (words[word] ?? 0) + (cpuBuffer(buffer).block?.at ?? 0);
  if (kernel !== "copy") return placed;
  const [from, to] = pointers;
  const copy = new Uint32Array(5);
  copy[COPY.fromHeap] = from === undefined ? 0 : heapOf(from);
  copy[COPY.from] = placed[0] ?? 0;
  copy[COPY.toHeap] = to === undefined ? 0 : heapOf(to);
  copy[COPY.to] = placed[1] ?? 0;
  copy[COPY.bytes] = placed[2] ?? 0;
  return copy;
}
