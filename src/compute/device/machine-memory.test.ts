import { expect, test } from "bun:test";
import { totalmem } from "node:os";
import { machineMemory } from "./machine-memory.ts";

const GB = 2 ** 30;

test("a container's limit counts where it is less than what the machine has", () => {
  const memory = (limit: number, used = GB, free = 40 * GB) =>
    machineMemory({ total: 64 * GB, free, groups: [{ limit, used }] });
  expect(memory(8 * GB)).toEqual({ total: 8 * GB, free: 7 * GB });
  expect(memory(8 * GB, GB, 2 * GB)).toEqual({ total: 8 * GB, free: 2 * GB });
  expect(memory(8 * GB, 9 * GB).free).toBe(0);
  // How systems say that there is none.
  for (const limit of [0, 64 * GB, 2 ** 63]) expect(memory(limit)).toEqual({ total: 64 * GB, free: 40 * GB });
});

test("of groups in groups each leaves what it leaves", () => {
  const groups = [
    { limit: 8 * GB, used: GB },
    { limit: 16 * GB, used: 13 * GB },
  ];
  expect(machineMemory({ total: 64 * GB, free: 40 * GB, groups })).toEqual({ total: 8 * GB, free: 3 * GB });
});

test("this machine has what its limit leaves", () => {
  const { total, free } = machineMemory();
  expect(total).toBeWithin(1, totalmem() + 1);
  expect(free).toBeLessThanOrEqual(total);
});
