import { expect, test } from "bun:test";
import { isCpu, openDevice } from "./open-device.ts";

test("the CPU device is chosen by its name, however that is written", async () => {
  expect(["cpu", "CPU", "Cpu", "cpu0", undefined].map(isCpu)).toEqual([true, true, true, false, false]);
  let opened = 0;
  using device = await openDevice({ choice: "CPU", threads: 1, onOpen: () => opened++ });
  expect([device.info.software, opened]).toEqual([true, 1]);
});
