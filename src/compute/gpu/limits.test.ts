import { expect, test } from "bun:test";
import { limitsOf } from "./limits.ts";

test("a binding has no more bytes than the device binds, nor than it is asked to have", () => {
  const limits = { maxStorageBufferBindingSize: 1000, maxBufferSize: 2000, maxComputeWorkgroupsPerDimension: 7 };
  const of = (most?: number) => limitsOf({ limits } as unknown as GPUDevice, most);
  expect(of()).toMatchObject({
    maxBindingSize: 1000,
    maxStorageBufferBindingSize: 1000,
    maxBufferSize: 2000,
    maxRows: 7,
  });
  expect(of(300)).toMatchObject({ maxBindingSize: 300, maxStorageBufferBindingSize: 300 });
  expect(of(3000)).toMatchObject({ maxBindingSize: 1000 });
});
