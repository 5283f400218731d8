import { cString, openLibc } from "../../files/libc.ts";

/**
 * Kernel counters of pages that macOS gives to whoever asks: free ones, its file cache (what it read ahead among it), and
 * what programs marked as purgeable. `os.freemem()` has the first alone, and a Mac that is awake leaves few of those.
 */
const AVAILABLE = ["vm.page_free_count", "vm.page_pageable_external_count", "vm.page_purgeable_count"];
const PAGE_SIZE = "vm.pagesize";

/**
 * Memory available on macOS, as `MemAvailable` is on Linux.
 * @param counter the value of a kernel counter; undefined where there is none of that name
 * @returns undefined where macOS does not say
 */
export function macAvailable(counter: (name: string) => number | undefined = macCounter): number | undefined {
  const pages = AVAILABLE.reduce((sum, name) => sum + (counter(name) ?? NaN), 0);
  const bytes = pages * (counter(PAGE_SIZE) ?? NaN);
  return bytes > 0 ? bytes : undefined;
}

/** sysctlbyname(3), for numbers; undefined on other systems. */
export function macCounter(name: string): number | undefined {
  byName ??= load();
  // Some are 32 bits wide and some 64: the upper half stays zero where it is not written.
  const [value, size] = [new BigUint64Array(1), new BigUint64Array([8n])];
  return byName?.(cString(name), value, size) === 0 ? Number(value[0]) : undefined;
}

let byName: ((name: Uint8Array, value: BigUint64Array, size: BigUint64Array) => number) | undefined;

function load(): typeof byName {
  const libc = openLibc({ sysctlbyname: { args: ["ptr", "ptr", "ptr", "ptr", "u64"], returns: "i32" } });
  return libc && ((name, value, size) => libc.sysctlbyname(name, value, size, null, 0n));
}
