// What a card has to do for a dispatch, counted on a sample of its workgroups: the memory that neighbors touch together, conflicts of
// banks of workgroup memory, and operations.
import { compileShader } from "./compile.ts";
import type { Tally } from "./costs.ts";
import { type BoundBytes, type Counter, runDispatch, type Workgroup } from "./dispatch.ts";
import type { InterpretedDispatch } from "./device.ts";
import { CheckedMemory } from "./memory.ts";
import type { GlobalSyntax } from "./syntax.ts";

/** Threads of a warp, which load and store together. */
const LANES = 32;
/** Words of a sector of global memory, and sectors that an L1 cache serves in a cycle. */
const [SECTOR, TURN] = [8, 4] as const;
/** Of workgroup memory, a word each. */
const BANKS = 32;

/** Loads and stores of a kind of memory. */
export interface Traffic {
  /** Of threads. */
  readonly loads: number;
  readonly stores: number;
  /** Bytes that warps ask for at once, each once. */
  readonly bytes: number;
  /** Sectors, or cycles of banks, that these would take side by side, and those that they take. */
  readonly needed: number;
  readonly taken: number;
  /** Cycles of an L1 cache, or of banks: one a load or store of a warp at least. */
  readonly cycles: number;
  /** Bytes of sectors that workgroups touch, each once between barriers, and each once at all; of these no more than there are. */
  readonly phases: number;
  readonly distinct: number;
}

/** Of a whole dispatch, by what its sampled workgroups do. */
export interface Counts {
  readonly workgroups: number;
  /** Of a workgroup. */
  readonly threads: number;
  readonly barriers: number;
  /** Of all threads; without what indices take, which addressing does for the most part. */
  readonly operations: Tally;
  /** Operations of warps times 32: all threads of one wait for that which has most between barriers. */
  readonly slots: number;
  readonly global: Traffic;
  readonly shared: Traffic;
  /** The binding whose loads and stores are spread most, of those that take a good part of all; undefined: there is none. */
  readonly worst: { readonly name: string; readonly ratio: number } | undefined;
}

/** A good part. */
const PART = 1 / 8;

const NONE = { loads: 0, stores: 0, bytes: 0, needed: 0, taken: 0, cycles: 0, phases: 0, distinct: 0 };

/**
 * Counts on so many workgroups at most. Buffers may hold fewer bytes than bindings say (`Watcher.held`).
 * @throws Error for what the interpreter does not know, or finds wrong
 */
export function countDispatch({ kernel, code, bindings, workgroups }: InterpretedDispatch, most = 3): Counts {
  const shader = compileShader(code, undefined, true);
  const report = (what: string, line: number): never => {
    throw new Error(`${kernel}, line ${line}: ${what}`);
  };
  const count = product(workgroups);
  const counting = new Counting(sampleOf(workgroups, Math.min(count, most)));
  runDispatch(shader, bindings, workgroups, report, counting);
  return { workgroups: count, threads: product(shader.workgroupSize), ...counting.counts(count) };
}

function product([x, y, z]: Workgroup): number {
  return x * y * z;
}

/** Workgroups from all over a dispatch. The steps share no multiple, so that no axis follows another. */
function sampleOf([x, y, z]: Workgroup, count: number): Workgroup[] {
  const at = (along: number, part: number) => Math.floor((part % 1) * along);
  const parts = Array.from({ length: count }, (_, index) => (index + 0.5) / count);
  return parts.map((part) => [at(x, part), at(y, part * 1.618 * count), at(z, part * 2.414 * count)]);
}

class Counting implements Counter {
  readonly groups: readonly Workgroup[];
  readonly tally = { fma: 0, float: 0, integer: 0 };
  readonly #memories: CountedMemory[] = [];
  #slots = 0;
  #phases = 0;
  #warp = -1;
  /** All operations before the running thread, and the most of a thread of this warp in this phase. */
  #before = 0;
  #most = 0;

  constructor(groups: readonly Workgroup[]) {
    this.groups = groups;
  }

  memory({ name, space }: GlobalSyntax, bytes: BoundBytes): CheckedMemory {
    const memory = new CountedMemory(name, bytes, space === "workgroup");
    // Parameters are the same for all threads: a card has a cache of its own for them.
    if (space !== "uniform") this.#memories.push(memory);
    return memory;
  }

  enter(thread: number): void {
    this.#leave();
    const warp = Math.floor(thread / LANES);
    if (warp !== this.#warp) this.#endWarp();
    this.#warp = warp;
    for (const memory of this.#memories) memory.lane = thread % LANES;
  }

  pass(): void {
    this.#leave();
    this.#endWarp();
    this.#phases += 1;
    for (const memory of this.#memories) memory.endPhase();
  }

  counts(workgroups: number): Omit<Counts, "workgroups" | "threads"> {
    const ran = this.groups.length;
    const scale = workgroups / ran;
    const { fma, float, integer } = this.tally;
    const traffic = (isShared: boolean): Traffic => {
      const ones = this.#memories.filter((one) => one.isShared === isShared);
      return ones.reduce<Traffic>((total, one) => sum(total, one.scaled(scale)), NONE);
    };
    const global = traffic(false);
    const worst = this.#memories.flatMap((memory) => {
      const { taken, needed } = memory.scaled(scale);
      return memory.isShared || taken < PART * global.taken ? [] : [{ name: memory.name, ratio: taken / needed }];
    });
    return {
      // The last phase ends with the workgroup.
      barriers: this.#phases / ran - 1,
      operations: { fma: scale * fma, float: scale * float, integer: scale * integer },
      slots: scale * this.#slots,
      global,
      shared: traffic(true),
      worst: worst.toSorted((left, right) => right.ratio - left.ratio)[0],
    };
  }

  #leave(): void {
    const { fma, float, integer } = this.tally;
    const all = fma + float + integer;
    this.#most = Math.max(this.#most, all - this.#before);
    this.#before = all;
  }

  #endWarp(): void {
    this.#slots += LANES * this.#most;
    this.#most = 0;
    for (const memory of this.#memories) memory.endWarp();
  }
}

/** `left` + `scale` · `right`. */
function sum(left: Traffic, right: Traffic, scale = 1): Traffic {
  const keys = Object.keys(NONE) as (keyof Traffic)[];
  return Object.fromEntries(keys.map((key) => [key, left[key] + scale * right[key]])) as Record<keyof Traffic, number>;
}

/** Accesses of a warp by one line of a shader: the first word of each thread's, plus 1, occurrence by occurrence, and their words. */
class Site {
  readonly isStore: boolean;
  firsts = new Int32Array(LANES);
  readonly sizes: number[] = [];
  lane = -1;
  next = 0;

  constructor(isStore: boolean) {
    this.isStore = isStore;
  }

  note(lane: number, first: number, size: number): void {
    if (lane !== this.lane) this.next = 0;
    this.lane = lane;
    const at = this.next++ * LANES;
    if (at === this.firsts.length) {
      const longer = new Int32Array(2 * at);
      longer.set(this.firsts);
      this.firsts = longer;
    }
    this.firsts[at + lane] = first + 1;
    this.sizes[at / LANES] = size;
  }

  clear(): void {
    this.firsts.fill(0, 0, this.sizes.length * LANES);
    this.sizes.length = 0;
    this.lane = -1;
  }
}

/** Memory that knows what is asked of it. What is beyond the bytes that a buffer holds lies on top of them. */
class CountedMemory extends CheckedMemory {
  readonly name: string;
  readonly isShared: boolean;
  /** The running thread's place in its warp. */
  lane = 0;
  /** Words of the binding. */
  readonly #length: number;
  readonly #sites: Site[] = [];
  readonly #sums = { ...NONE };
  /** Sectors touched since the last barrier, and by this workgroup. */
  readonly #phase = new Set<number>();
  readonly #all = new Set<number>();

  constructor(name: string, { buffer, offset, size }: BoundBytes, isShared: boolean) {
    const held = offset + size <= buffer.byteLength ? { offset, size } : { offset: 0, size: buffer.byteLength };
    const clock = { invocation: 0, dispatch: 0, workgroup: 0, phase: 0 };
    super(name, { buffer, ...held }, "readonly", clock, () => {});
    this.name = name;
    this.isShared = isShared;
    this.#length = Math.floor(size / 4);
  }

  override at(base: number, index: number, stride: number, count: number | undefined): number {
    const there = count ?? Math.floor((this.#length - base) / stride);
    return base + Math.max(0, Math.min(index, there - 1)) * stride;
  }

  override reads(at: number, count: number, line: number): number {
    return this.#note(at, count, 2 * line, false);
  }

  override writes(at: number, count: number, line: number): number {
    return this.#note(at, count, 2 * line + 1, true);
  }

  override changes(at: number): number {
    return this.#note(at, 1, 1, true);
  }

  #note(at: number, size: number, site: number, isStore: boolean): number {
    (this.#sites[site] ??= new Site(isStore)).note(this.lane, at, size);
    return at % this.words.length;
  }

  endWarp(): void {
    this.#sites.forEach((site) => {
      for (const [occurrence, size] of site.sizes.entries()) {
        this.#together(site.firsts.subarray(occurrence * LANES, (occurrence + 1) * LANES), size, site.isStore);
      }
      site.clear();
    });
  }

  endPhase(): void {
    this.#sums.phases += 4 * SECTOR * this.#phase.size;
    for (const sector of this.#phase) this.#all.add(sector);
    this.#phase.clear();
  }

  /** What a whole dispatch asks for, of which this is one part in `scale`. */
  scaled(scale: number): Traffic {
    return {
      ...sum(NONE, this.#sums, scale),
      distinct: Math.min(scale * 4 * SECTOR * this.#all.size, 4 * this.#length),
    };
  }

  /** One load or store of a warp. */
  #together(firsts: Int32Array, size: number, isStore: boolean): void {
    const distinct: number[] = [];
    let threads = 0;
    for (const first of firsts) {
      if (first === 0) continue;
      threads += 1;
      if (first - 1 !== distinct.at(-1) && !distinct.includes(first - 1)) distinct.push(first - 1);
    }
    if (threads === 0) return;
    const words = distinct.length * size;
    const unit = this.isShared ? BANKS : SECTOR;
    const taken = this.isShared ? conflicts(distinct, size) : this.#touch(distinct, size);
    this.#sums[isStore ? "stores" : "loads"] += threads;
    this.#sums.bytes += 4 * words;
    this.#sums.needed += Math.ceil(words / unit);
    this.#sums.taken += taken;
    this.#sums.cycles += this.isShared ? taken : Math.ceil(taken / TURN);
  }

  /** Sectors that hold these. */
  #touch(distinct: readonly number[], size: number): number {
    const sectors = new Set<number>();
    for (const first of distinct) {
      const last = Math.floor((first + size - 1) / SECTOR);
      for (let sector = Math.floor(first / SECTOR); sector <= last; sector++) sectors.add(sector);
    }
    for (const sector of sectors) this.#phase.add(sector);
    return sectors.size;
  }
}

/** Cycles in which banks serve these: each gives a word a cycle, to all who ask for it. */
function conflicts(distinct: readonly number[], size: number): number {
  const words = new Uint8Array(BANKS);
  for (const first of distinct) {
    for (let word = first; word < first + size; word++) words[word % BANKS] = (words[word % BANKS] ?? 0) + 1;
  }
  return Math.max(...words);
}
