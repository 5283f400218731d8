import { machineMemory } from "../device/machine-memory.ts";
import { RandloraError } from "../../files/errors.ts";
import { useHugePages } from "./huge-pages.ts";

/** WebAssembly's unit of memory. */
const PAGE = 2 ** 16;
/** What one memory with 32-bit addresses holds, but for a page: a kernel's loop up to an end of 2 ** 32 would end at 0. */
export const HEAP_BYTES = 2 ** 32 - PAGE;
/** Of addresses: a cache line. */
const ALIGNMENT = 64;
/** Memories that a process may have at full speed: JavaScriptCore reserves addresses for so many. */
const MOST_HEAPS = 8;
/** Where even the first one's addresses cannot be reserved, smaller ones are tried, down to this. */
const SMALLEST = 2 ** 28;
/** A heap grows by so much at least. */
const STEP = 2 ** 20;
/**
 * The last part of each heap is left to small buffers. In the first they lie together, as commands work on some of them at
 * once, and what lies in another heap must be copied; in the others are those copies. Parts of a heap: the size from
 * which a buffer is large, and what is kept in the first one and in the others.
 */
const LARGE = 1 / 512;
const KEPT_IN_FIRST = 1 / 4;
const KEPT_IN_OTHERS = 1 / 8;
/** What of a heap buffers may have that are to lie together: the same with any number of threads, since bits follow from it. */
const TOGETHER = 3 / 4;

/** How heaps are made. */
export interface HeapOptions {
  /** Bytes at the begin of each heap that are not given away. */
  readonly reserved: number;
  /** Bytes of a heap at most, and heaps: as many as JavaScriptCore runs at full speed by default. */
  readonly bytes?: number | undefined;
  readonly count?: number | undefined;
  /** Bytes that the machine has left for this process. */
  readonly free?: (() => number) | undefined;
}

/** A part of a heap. */
export interface Block {
  readonly heap: number;
  readonly at: number;
  readonly size: number;
}

/** A block that was taken, and the number of the last entry of the queue that may still use it. */
interface Taken {
  readonly block: Block;
  readonly busy: number;
}

/** A part that is free; entries of the queue up to number `busy` may still use it. */
interface Hole {
  readonly at: number;
  readonly size: number;
  readonly busy: number;
}

/** What is asked of a block: entries of the queue after number `latest` do not use it; it lies in this heap. */
interface Wish {
  readonly latest?: number;
  readonly heap?: number;
}

interface Wanted {
  readonly size: number;
  /** Where it ends at the latest. */
  readonly most: number;
  readonly latest: number;
  /** The heap may grow. */
  readonly grow: boolean;
}

/**
 * The memories of the CPU device, and what of them is free. Each is made when the first buffer goes there, since a process has
 * few that are fast: of a small model's device there is one.
 */
export class Heaps {
  /** Told every memory but the first when it has been made, before anything lies there. */
  onMemory: ((memory: WebAssembly.Memory) => void) | undefined;
  /** Told that there is no room; gives back what is kept without need, and says whether that was anything. */
  onFull: (() => boolean) | undefined;
  /** Bytes of a heap at most. */
  readonly heapBytes: number;
  readonly #memories: WebAssembly.Memory[];
  /** Of all memories. */
  #bytes: number;
  readonly #holes: Hole[][];
  /** Memories at most. */
  #count: number;
  readonly #reserved: number;
  readonly #free: () => number;
  /** What the process had before: memory that a heap has grown by is taken from the machine only when it is written. */
  readonly #before = process.memoryUsage.rss();

  /** @throws RandloraError `memory` where not even addresses can be reserved */
  constructor({ reserved, bytes = HEAP_BYTES, count = MOST_HEAPS, free = () => machineMemory().free }: HeapOptions) {
    this.#reserved = Math.ceil(reserved / PAGE) * PAGE;
    this.#free = free;
    const first = firstMemory(this.#reserved, bytes);
    this.heapBytes = first.bytes;
    this.#count = count;
    this.#memories = [first.memory];
    this.#bytes = this.#reserved;
    this.#holes = [[]];
  }

  get memories(): readonly WebAssembly.Memory[] {
    return this.#memories;
  }

  /** Lets go of all memories: a device that is closed takes none, whoever still holds it. There is no room after that. */
  close(): void {
    this.#memories.length = 0;
    this.#count = 0;
  }

  /** What all memories have grown to. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes of one buffer at most: what of a heap is not kept for others. */
  get mostBytes(): number {
    const most = this.#count > 1 ? (1 - KEPT_IN_OTHERS) * this.heapBytes : this.heapBytes;
    return most - this.#reserved;
  }

  /** Bytes of buffers that are to lie in one heap, at most. */
  get mostTogether(): number {
    return Math.min(TOGETHER * this.heapBytes, this.mostBytes);
  }

  /**
   * A block of at least `size` bytes, which entries after number `latest` do not use.
   * @throws RandloraError `memory` where there is no room
   */
  take(label: string, size: number, wish: Wish = {}): Taken {
    const taken = this.tryTake(size, wish);
    if (taken !== undefined) return taken;
    if (this.#count === 0) throw new RandloraError("gpu", `${label}: the CPU device was closed`);
    const smaller = "use a smaller model or --quantize q8, or put fewer tokens through at once";
    const options = "(--batch-size, --max-length, --context)";
    if (this.#room() >= size + this.#reserved) {
      const most = showSize(this.#count * this.heapBytes);
      const cause = `${label}: ${showSize(size)} beside ${showSize(this.#bytes)} in use: the CPU device holds ${most} at most`;
      throw new RandloraError("memory", cause, `${smaller} ${options}, or choose a GPU with --device`);
    }
    throw new RandloraError(
      "memory",
      `${label}: the machine has no room for ${showSize(size)} beside ${showSize(this.#bytes)} in use`,
      `close other programs, ${smaller} ${options}`,
    );
  }

  /** The same; undefined where there is no room. */
  tryTake(size: number, wish: Wish = {}): Taken | undefined {
    const { latest = Infinity, heap: only } = wish;
    const whole = wholeLines(size);
    const count = this.#count;
    for (const grow of [false, true]) {
      for (let heap = only ?? 0; heap <= (only ?? this.#count - 1); heap++) {
        if (!(grow ? this.#has(heap, whole) : heap < this.#memories.length)) break;
        const isLarge = whole >= LARGE * this.heapBytes && this.#count > 1;
        const kept = heap === 0 ? KEPT_IN_FIRST : KEPT_IN_OTHERS;
        const most = (isLarge && only === undefined ? 1 - kept : 1) * this.heapBytes;
        const found = this.#find(heap, { size: whole, most, latest, grow });
        if (found !== undefined) return { block: { heap, at: found.at, size: whole }, busy: found.busy };
      }
    }
    // Where no memory can be made beside the first, nothing of that is kept.
    return this.#count < count || this.onFull?.() === true ? this.tryTake(size, wish) : undefined;
  }

  /** Gives a block back that entries up to number `busy` use. */
  give({ heap, at, size }: Block, busy: number): void {
    const holes = this.#holes[heap];
    if (holes === undefined) throw new Error(`there is no heap ${heap}`);
    let index = holes.findIndex((hole) => hole.at > at);
    if (index < 0) index = holes.length;
    const [before, after] = [holes[index - 1], holes[index]];
    let hole: Hole = { at, size, busy };
    let [from, count] = [index, 0];
    if (before !== undefined && before.at + before.size === at) {
      hole = { at: before.at, size: before.size + hole.size, busy: Math.max(before.busy, hole.busy) };
      from--;
      count++;
    }
    if (after !== undefined && at + size === after.at) {
      hole = { at: hole.at, size: hole.size + after.size, busy: Math.max(after.busy, hole.busy) };
      count++;
    }
    holes.splice(from, count, hole);
  }

  /** Is there this memory, or can it be made for so many bytes? */
  #has(heap: number, bytes: number): boolean {
    while (this.#memories.length <= heap) {
      if (this.#memories.length >= this.#count || this.#room() < this.#reserved + bytes) return false;
      const memory = this.#another();
      if (memory === undefined) return false;
      this.#memories.push(memory);
      this.#bytes += this.#reserved;
      this.#holes.push([]);
      this.onMemory?.(memory);
    }
    return true;
  }

  /** Another memory; undefined where no addresses are left, and then there will never be one. */
  #another(): WebAssembly.Memory | undefined {
    try {
      return newMemory(this.#reserved, this.heapBytes);
    } catch {
      this.#count = this.#memories.length;
      return undefined;
    }
  }

  /** The smallest hole that holds `size` bytes below `most`, or one at the end of the heap, grown. */
  #find(heap: number, wanted: Wanted): Hole | undefined {
    const { size, most, latest, grow } = wanted;
    const holes = this.#holes[heap] ?? [];
    let best = -1;
    for (const [index, hole] of holes.entries()) {
      if (hole.size < size || hole.at + size > most || hole.busy > latest) continue;
      if (best < 0 || hole.size < (holes[best]?.size ?? 0)) best = index;
    }
    if (best < 0) return grow ? this.#grow(heap, wanted) : undefined;
    const hole = holes[best];
    if (hole === undefined) return undefined;
    const rest = { at: hole.at + size, size: hole.size - size, busy: hole.busy };
    holes.splice(best, 1, ...(rest.size > 0 ? [rest] : []));
    return hole;
  }

  #grow(heap: number, wanted: Wanted): Hole | undefined {
    const { size, most, latest } = wanted;
    const memory = this.memories[heap];
    if (memory === undefined) return undefined;
    const end = memory.buffer.byteLength;
    const last = this.#holes[heap]?.at(-1);
    const goesOn = last !== undefined && last.at + last.size === end && last.busy <= latest;
    const begin = goesOn ? last.at : end;
    if (begin + size > most) return undefined;
    const wish = Math.min(Math.max(begin + size - end, STEP), this.heapBytes - end);
    const pages = Math.ceil(wish / PAGE);
    if (pages * PAGE > this.#room()) return undefined;
    try {
      memory.grow(pages);
    } catch {
      return undefined;
    }
    this.#bytes += pages * PAGE;
    if (goesOn) this.#holes[heap]?.pop();
    const hole = { at: begin, size, busy: goesOn ? last.busy : 0 };
    const rest = end + pages * PAGE - begin - size;
    if (rest > 0) this.#holes[heap]?.push({ at: begin + size, size: rest, busy: 0 });
    return hole;
  }

  /** Bytes that heaps may still grow by before the machine has no more. */
  #room(): number {
    const grown = this.#bytes - this.#memories.length * this.#reserved;
    const written = process.memoryUsage.rss() - this.#before;
    return this.#free() - Math.max(0, grown - Math.max(0, written));
  }
}

/** What a buffer of so many bytes takes. */
export function wholeLines(size: number): number {
  return Math.ceil(Math.max(size, 1) / ALIGNMENT) * ALIGNMENT;
}

/** A memory of so many bytes at most. @throws RangeError where there are no addresses for it */
function newMemory(reserved: number, bytes: number): WebAssembly.Memory {
  const maximum = Math.max(bytes, reserved);
  const memory = new WebAssembly.Memory({ initial: reserved / PAGE, maximum: maximum / PAGE, shared: true });
  useHugePages(memory, maximum);
  return memory;
}

/** The first memory, a smaller one where the process may not have addresses for one that is whole. */
function firstMemory(reserved: number, bytes: number): { readonly memory: WebAssembly.Memory; readonly bytes: number } {
  for (let size = bytes; ; size = Math.floor(size / 2 / PAGE) * PAGE) {
    try {
      return { memory: newMemory(reserved, size), bytes: size };
    } catch (cause) {
      if (size / 2 >= SMALLEST) continue;
      const hint = "raise the limit of the process's address space (ulimit -v), or choose a GPU with --device";
      throw new RandloraError("memory", "the CPU device cannot reserve its memory", hint, { cause });
    }
  }
}

function showSize(bytes: number): string {
  return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
