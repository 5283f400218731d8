import { expect, test } from "bun:test";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { SharedParts } from "./training.ts";

test("a part is made once, is what its key says, and is given back with the last that uses it; one that fails leaves nothing", async () => {
  using gpu = await openTestDevice();
  const shared = new SharedParts(gpu);
  const owners = [new DisposableStack(), new DisposableStack(), new DisposableStack()] as const;
  const take = (at: 0 | 1 | 2, key: string) => shared.take(owners[at], key, ({ memory }) => memory.allocate(key, 256));
  const [one, same, other] = await Promise.all([take(0, "a"), take(1, "a"), take(2, "b")]);
  expect(same).toBe(one);
  expect(other).not.toBe(one);
  expect(gpu.memory.liveBytes).toBe(512);
  owners[0].dispose();
  expect(gpu.memory.liveBytes).toBe(512);
  owners[1].dispose();
  expect(gpu.memory.liveBytes).toBe(256);
  const fails = shared.take(owners[2], "c", ({ memory }) => {
    memory.allocate("c", 256);
    throw new Error("no room");
  });
  expect(fails).rejects.toThrow("no room");
  await fails.catch(() => {});
  expect(gpu.memory.liveBytes).toBe(256);
  owners[2].dispose();
  expect(gpu.memory.liveBytes).toBe(0);
});
