import { expect, test } from "bun:test";
import { RowCache } from "./row-cache.ts";

test("keeps the groups used last, and reads each once for all who wait", async () => {
  const reads: number[] = [];
  const cache = new RowCache<{ id: number }>(async ({ id }) => {
    reads.push(id);
    await Bun.sleep(1);
    if (id === 9) throw new Error("broken");
    return [new Uint8Array(10)];
  }, 25);
  const groups = Array.from({ length: 10 }, (_, id) => ({ id }));
  const get = (id: number) => cache.get(groups[id] as { id: number });
  await Promise.all([get(0), get(0), get(1), get(0)]);
  expect(reads).toEqual([0, 1]);
  await get(0);
  await get(2); // Lets 1 go, which was used longest ago.
  await get(0);
  expect(reads).toEqual([0, 1, 2]);
  await get(1);
  expect(reads).toEqual([0, 1, 2, 1]);
  await expect(get(9)).rejects.toThrow("broken");
  await expect(get(9)).rejects.toThrow("broken");
});

test("reads two groups at a time, however many are asked for", async () => {
  let [reading, most] = [0, 0];
  const cache = new RowCache<{ id: number }>(async ({ id }) => {
    most = Math.max(most, ++reading);
    await Bun.sleep(1);
    reading--;
    if (id % 5 === 4) throw new Error("broken");
    return [Uint8Array.of(id)];
  }, 3);
  const groups = Array.from({ length: 20 }, (_, id) => ({ id }));
  const ids = (await Promise.allSettled(groups.map((group) => cache.get(group)))).map((read) =>
    read.status === "fulfilled" ? read.value[0]?.[0] : read.reason.message,
  );
  expect(ids).toEqual(groups.map(({ id }) => (id % 5 === 4 ? "broken" : id)));
  expect([most, reading]).toEqual([2, 0]);
  expect(await cache.get({ id: 21 })).toEqual([Uint8Array.of(21)]);
});
