import { RandloraError } from "../errors.ts";

/** WebAssembly's unit of memory. */
const PAGE = 2 ** 16;
/** What one memory with 32-bit addresses holds. */
export const HEAP_BYTES = 2 ** 32;
/** Of addresses: a cache line. */
const ALIGNMENT = 64;
/** Memories that a process may have at full speed: JavaScriptCore reserves addresses for so many. */
const MOST_HEAPS = 8;
/** Buffers from this size on leave the end of the first heap to smaller ones, which commands have in common. */
const LARGE = 2 ** 23;
const KEPT_FOR_SMALL = 2 ** 30;

/** A part of a heap. */
export interface Block {
  readonly heap: number;
  readonly at: number;
  readonly size: number;
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

/** The memories of the CPU device, and what of them is free. */
export class Heaps {
  readonly memories: readonly WebAssembly.Memory[];
  readonly #holes: Hole[][];

  /** @param reserved bytes at the begin of each heap that are not given away */
  constructor(readonly reserved: number) {
    const initial = Math.ceil(reserved / PAGE);
    const memory = () => new WebAssembly.Memory({ initial, maximum: HEAP_BYTES / PAGE, shared: true });
    this.memories = Array.from({ length: MOST_HEAPS }, memory);
    this.#holes = this.memories.map(() => []);
  }

  /** Bytes of one buffer at most. */
  get mostBytes(): number {
    return HEAP_BYTES - Math.ceil(this.reserved / PAGE) * PAGE;
  }

  /**
   * A block of at least `size` bytes, which entries after number `latest` do not use.
   * @returns it, and the number of the last entry of the queue that may still use it
   * @throws RandloraError `memory` where there is no room
   */
  take(label: string, size: number, { latest = Infinity, heap: only }: Wish = {}): { block: Block; busy: number } {
    const whole = Math.ceil(Math.max(size, 1) / ALIGNMENT) * ALIGNMENT;
    for (const grow of [false, true]) {
      for (let heap = only ?? 0; heap <= (only ?? this.memories.length - 1); heap++) {
        const most = heap === 0 && whole >= LARGE && only === undefined ? HEAP_BYTES - KEPT_FOR_SMALL : HEAP_BYTES;
        const found = this.#find(heap, { size: whole, most, latest, grow });
        if (found !== undefined) return { block: { heap, at: found.at, size: whole }, busy: found.busy };
      }
    }
    throw new RandloraError(
      "memory",
      `${label}: no room for ${(size / 2 ** 30).toFixed(1)} GB`,
      "use a smaller model, or put fewer tokens through at once (--batch-size, --max-length, --context)",
    );
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
    const pages = Math.ceil((begin + size - end) / PAGE);
    try {
      memory.grow(pages);
    } catch {
      return undefined;
    }
    if (goesOn) this.#holes[heap]?.pop();
    const hole = { at: begin, size, busy: goesOn ? last.busy : 0 };
    const rest = end + pages * PAGE - begin - size;
    if (rest > 0) this.#holes[heap]?.push({ at: begin + size, size: rest, busy: 0 });
    return hole;
  }
}
