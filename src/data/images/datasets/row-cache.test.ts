import { expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { RowCache, Spill } from "./row-cache.ts";

/** A file that cannot be made. */
const NOWHERE = () => new Spill<{ id: number }>("/dev/null/none");

test("reads each group once in any order: what memory has no room for goes to a file without a name", async () => {
  await using folder = await TemporaryFolder.create();
  const reads: number[] = [];
  const cache = new RowCache<{ id: number }>(
    async ({ id }) => {
      reads.push(id);
      return [Uint8Array.of(id, 0), new Uint8Array(), Uint8Array.of(id, 2, 2)];
    },
    7,
    new Spill(folder.path),
  );
  const groups = Array.from({ length: 8 }, (_, id) => ({ id }));
  for (const turn of [0, 1, 2]) {
    for (const group of turn === 1 ? groups.toReversed() : groups) {
      expect(await cache.get(group, 2)).toEqual(Uint8Array.of(group.id, 2, 2));
      expect(await cache.get(group, 0)).toEqual(Uint8Array.of(group.id, 0));
      expect([await cache.get(group, 1), await cache.get(group, 3)]).toEqual([new Uint8Array(), undefined]);
    }
  }
  const all = await Promise.all([...groups, ...groups].map((group) => cache.get(group, 0)));
  expect(all.map((row) => row?.[0])).toEqual([...groups, ...groups].map(({ id }) => id));
  expect(reads).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(await readdir(folder.path)).toEqual([]);
});

test("keeps the groups used last, and reads each once for all who wait", async () => {
  const reads: number[] = [];
  const cache = new RowCache<{ id: number }>(
    async ({ id }) => {
      reads.push(id);
      await Bun.sleep(1);
      if (id === 9) throw new Error("broken");
      return [new Uint8Array(10)];
    },
    25,
    NOWHERE(),
  );
  const groups = Array.from({ length: 10 }, (_, id) => ({ id }));
  const get = (id: number) => cache.get(groups[id] as { id: number }, 0);
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
  const cache = new RowCache<{ id: number }>(
    async ({ id }) => {
      most = Math.max(most, ++reading);
      await Bun.sleep(1);
      reading--;
      if (id % 5 === 4) throw new Error("broken");
      return [Uint8Array.of(id)];
    },
    3,
    NOWHERE(),
  );
  const groups = Array.from({ length: 20 }, (_, id) => ({ id }));
  const ids = (await Promise.allSettled(groups.map((group) => cache.get(group, 0)))).map((read) =>
    read.status === "fulfilled" ? read.value?.[0] : read.reason.message,
  );
  expect(ids).toEqual(groups.map(({ id }) => (id % 5 === 4 ? "broken" : id)));
  expect([most, reading]).toEqual([2, 0]);
  expect(await cache.get({ id: 21 }, 0)).toEqual(Uint8Array.of(21));
});
