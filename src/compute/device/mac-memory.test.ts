import { expect, test } from "bun:test";
import { macAvailable } from "./mac-memory.ts";

/** A Mac of 24 GB as `sysctl vm` shows it: 0.1 GB are free, and 7 GB hold files. */
const COUNTERS: Readonly<Record<string, number>> = {
  "vm.pagesize": 16384,
  "vm.page_free_count": 6500,
  "vm.page_speculative_count": 2100,
  "vm.page_pageable_external_count": 427_000,
  "vm.page_pageable_internal_count": 620_000,
  "vm.page_purgeable_count": 9000,
};

test("available are free pages, those of files, and what may be purged", () => {
  expect(macAvailable((name) => COUNTERS[name])).toBe((6500 + 427_000 + 9000) * 16384);
});

test("where the system does not say there is no answer", () => {
  for (const missing of ["vm.pagesize", "vm.page_free_count", "vm.page_purgeable_count"]) {
    expect(macAvailable((name) => (name === missing ? undefined : COUNTERS[name]))).toBeUndefined();
  }
  expect(macAvailable(() => undefined)).toBeUndefined();
});

test.if(process.platform === "darwin")("this Mac says", () => {
  expect(macAvailable()).toBeGreaterThan(2 ** 26);
});

test.if(process.platform === "linux")("another system's C library does not", () => {
  expect(macAvailable()).toBeUndefined();
});
