import type { Counts } from "../src/compute/gpu/testing/wgsl/counts.ts";

/** Published figures of a card. */
export interface Card {
  readonly name: string;
  /** Streaming multiprocessors, compute units, Xe cores or cores; each one's multiply-adds a cycle; cycles of a nanosecond. */
  readonly units: number;
  readonly lanes: number;
  readonly ghz: number;
  /** Bytes of a nanosecond: of memory, and of the cache before it where that was measured. */
  readonly memory: number;
  readonly cache: number | undefined;
  /** Bytes of a unit's cycle: of workgroup memory and the L1 cache, and from the cache before memory. */
  readonly local: number;
  readonly fetch: number;
  /** Microseconds that WebGPU takes for a dispatch of its own submission (arXiv:2604.02344). */
  readonly dispatch: readonly [least: number, most: number];
  readonly integerDots: boolean;
}

const METAL = { fetch: 64, dispatch: [32, 71], integerDots: false } as const;
const VULKAN = { fetch: 64, dispatch: [24, 36], integerDots: true } as const;

/**
 * Makers' data sheets; cache of the RTX 4090 as Chips and Cheese measured it, of the RX 7900 XTX as AMD says; Apple's widths by
 * philipturner/metal-benchmarks. AMD's lanes are those of two operations at once, which few programs get.
 */
export const CARDS = {
  "4090": { name: "RTX 4090", units: 128, lanes: 128, ghz: 2.52, memory: 1008, cache: 5000, local: 128, ...VULKAN },
  "7900xtx": { name: "RX 7900 XTX", units: 96, lanes: 128, ghz: 2.5, memory: 960, cache: 3500, local: 128, ...VULKAN },
  b580: { name: "Arc B580", units: 20, lanes: 128, ghz: 2.67, memory: 456, cache: undefined, local: 128, ...VULKAN },
  m2: { name: "Apple M2", units: 10, lanes: 128, ghz: 1.398, memory: 100, cache: undefined, local: 64, ...METAL },
  igpu: { name: "Radeon 780M", units: 12, lanes: 128, ghz: 2.7, memory: 89.6, cache: undefined, local: 128, ...VULKAN },
} as const satisfies Readonly<Record<string, Card>>;

/** The least time that a card may take for a dispatch. */
export interface Bound {
  readonly microseconds: number;
  /** What takes it. */
  readonly binds: string;
  /** Least time of its multiply-adds and of reading and writing all bytes once. */
  readonly ideal: number;
}

/**
 * Each part of a card works beside the others, and is busy all the time: no latency, no time to begin. The busiest unit
 * has as many workgroups as they come to when they are dealt out.
 */
export function boundOf({ workgroups, operations, slots, global, shared }: Counts, card: Card): Bound {
  const { units, lanes, ghz, memory, cache = Infinity, local, fetch } = card;
  const busiest = Math.ceil(workgroups / units) / workgroups;
  const cycles = (count: number) => (count * busiest) / ghz / 1000;
  const ofLocal = (one: number) => cycles((one * 128) / local);
  const times = {
    operations: cycles(slots / lanes),
    // One unit serves both.
    [shared.cycles > global.cycles ? "workgroup memory" : "L1"]: ofLocal(shared.cycles + global.cycles),
    L2: Math.max(global.phases / cache / 1000, cycles(global.phases / fetch)),
    memory: global.distinct / memory / 1000,
  };
  const [binds = "", microseconds = 0] = Object.entries(times).toSorted(([, a], [, b]) => b - a)[0] ?? [];
  return { microseconds, binds, ideal: Math.max(operations.fma / units / lanes / ghz / 1000, times.memory) };
}
