import { expect, test } from "bun:test";
import { totalmem } from "node:os";
import { machineMemory } from "./machine-memory.ts";

const GB = 2 ** 30;

test("a container's limit counts where it is less than what the machine has", () => {
  const readings = { total: 64 * GB, free: 40 * GB, used: GB };
  expect(machineMemory({ ...readings, limit: 8 * GB })).toEqual({ total: 8 * GB, free: 7 * GB });
  expect(machineMemory({ ...readings, free: 2 * GB, limit: 8 * GB })).toEqual({ total: 8 * GB, free: 2 * GB });
  expect(machineMemory({ ...readings, used: 9 * GB, limit: 8 * GB }).free).toBe(0);
  // How systems say that there is none.
  for (const limit of [0, 64 * GB, 2 ** 63]) {
    expect(machineMemory({ ...readings, limit })).toEqual({ total: 64 * GB, free: 40 * GB });
  }
});

test("this machine has what its limit leaves", () => {
  const { total, free } = machineMemory();
  expect(total).toBeWithin(1, totalmem() + 1);
  expect(free).toBeLessThanOrEqual(total);
});
