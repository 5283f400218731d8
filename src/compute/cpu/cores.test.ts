import { describe, expect, test } from "bun:test";
import { coreCount, fastCores, macCores } from "./cores.ts";

const CPUS = "/sys/devices/system/cpu";

/** A machine's files; by processor what shares its core, and what it is capable of. */
function machine(siblings: readonly string[], more: Readonly<Record<string, string>> = {}) {
  const files = new Map([
    ...siblings.map((list, cpu) => [`${CPUS}/cpu${cpu}/topology/thread_siblings_list`, `${list}\n`] as const),
    ...Object.entries(more),
  ]);
  return (path: string) => files.get(path);
}

describe("one thread of each fast core", () => {
  test("of cores with two threads, numbered side by side or far apart", () => {
    expect(fastCores([0, 1, 2, 3], machine(["0-1", "0-1", "2-3", "2-3"]))).toEqual([0, 2]);
    expect(fastCores([0, 1, 2, 3], machine(["0,2", "1,3", "0,2", "1,3"]))).toEqual([0, 1]);
  });

  test("of those that this process may use, even where it has only a core's second thread", () => {
    expect(fastCores([1, 3], machine(["0-1", "0-1", "2-3", "2-3"]))).toEqual([1, 3]);
    expect(fastCores([1, 2, 3], machine(["0-1", "0-1", "2-3", "2-3"]))).toEqual([1, 2]);
  });

  test("where Intel's list names the fast ones, or Arm's say how fast they are", () => {
    const intel = machine(["0-1", "0-1", "2", "3"], { "/sys/devices/cpu_core/cpus": "0-1\n" });
    expect(fastCores([0, 1, 2, 3], intel)).toEqual([0]);
    const capacities = Object.fromEntries(
      [1024, 900, 400].map((capacity, cpu) => [`${CPUS}/cpu${cpu}/cpu_capacity`, `${capacity}\n`]),
    );
    expect(fastCores([0, 1, 2], machine(["0", "1", "2"], capacities))).toEqual([0, 1]);
  });

  test("of a machine that says nothing every processor counts", () => {
    expect(fastCores([0, 1, 2], () => undefined)).toEqual([0, 1, 2]);
    expect(fastCores([], () => undefined)).toEqual([]);
  });
});

test("of a Mac the performance cores count, of one with Intel's processor the cores, not their threads", () => {
  const mac = (counters: Readonly<Record<string, number>>) => macCores((name) => counters[name]);
  expect(mac({ "hw.logicalcpu": 12, "hw.physicalcpu": 12, "hw.perflevel0.physicalcpu": 8 })).toBe(8);
  expect(mac({ "hw.logicalcpu": 16, "hw.physicalcpu": 8 })).toBe(8);
  expect(mac({})).toBeUndefined();
});

test("this machine has a core at least", () => {
  expect(coreCount()).toBeGreaterThanOrEqual(1);
});
