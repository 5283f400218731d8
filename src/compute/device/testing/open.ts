import { CpuDevice } from "../../cpu/cpu.ts";
import type { DeviceOptions } from "../../open-device.ts";
import { Gpu } from "../../gpu/gpu.ts";
import { openInterpreted } from "../../gpu/testing/interpreted.ts";
import type { Device } from "../device.ts";

/** Bytes that every GPU binds at once: larger tensors are taken in parts by one with the guaranteed limits. */
export const GUARANTEED_BINDING = 2 ** 27;

const wanted = process.env["RANDLORA_TEST_DEVICE"];
const isCpu = wanted === "cpu";
/** Kernels are interpreted and checked for races: `npm run test:races`. */
export const IS_INTERPRETED = wanted === "interpreter";

/** What opens a GPU for what opens its device itself, a software one, too: the first one. */
export const FIRST_GPU: DeviceOptions = { choice: "0" };

/** The device of {@link openTestDevice}, for what opens its device itself. */
export const TEST_DEVICE: DeviceOptions = isCpu ? { choice: "cpu", threads: 2 } : FIRST_GPU;

/**
 * The device that a test runs on which is not about devices: the GPU that there is, a software one mostly, or with
 * RANDLORA_TEST_DEVICE=cpu the program's own CPU device, with `interpreter` a GPU whose kernels are checked.
 * @param options `guaranteed`: a GPU with the limits that every GPU has
 */
export async function openTestDevice(options: { readonly limits?: "guaranteed" } = {}): Promise<Device> {
  if (IS_INTERPRETED) return openInterpreted().gpu;
  return isCpu ? CpuDevice.open({ threads: 2 }) : Gpu.open(options);
}
