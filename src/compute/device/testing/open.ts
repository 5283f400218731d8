import { CpuDevice } from "../../cpu/cpu.ts";
import type { DeviceOptions } from "../../open-device.ts";
import { Gpu } from "../../gpu/gpu.ts";
import { requestDevice } from "../../gpu/request.ts";
import { openInterpreted } from "../../gpu/testing/interpreted.ts";
import type { Device } from "../device.ts";

/** Bytes that every GPU binds at once: larger tensors are taken in parts by one with the guaranteed limits. */
export const GUARANTEED_BINDING = 2 ** 27;

/** Bytes that a GPU with `small` limits binds at once: what is taken in parts is shown by matrices that a software GPU is soon through. */
export const SMALL_BINDING = 2 ** 22;

const wanted = process.env["RANDLORA_TEST_DEVICE"];
/** By default on the CPU device, which is many times as fast as a software GPU. */
const isCpu = wanted === "cpu" || wanted === undefined;
/** Kernels are interpreted and checked for races: `RANDLORA_TEST_DEVICE=interpreter bun test PATH`. */
export const IS_INTERPRETED = wanted === "interpreter";
/** What computes in several ways leaves the CPU device out: `interpreter`, and `gpu`, the GPU that there is. */
export const IS_GPU_ALONE = IS_INTERPRETED || wanted === "gpu";

/** What opens a GPU for what opens its device itself, a software one, too: the first one. */
export const FIRST_GPU: DeviceOptions = { choice: "0" };

/** The device of {@link openTestDevice}, for what opens its device itself. */
export const TEST_DEVICE: DeviceOptions = isCpu ? { choice: "cpu", threads: 2 } : FIRST_GPU;

/**
 * The device that a test runs on which is not about devices: the program's own CPU device, or with RANDLORA_TEST_DEVICE=gpu
 * the GPU that there is, a software one mostly, with `interpreter` a GPU whose kernels are checked.
 * @param options a GPU, unless RANDLORA_TEST_DEVICE is `cpu`: `guaranteed`: with the limits that every GPU has; `small`:
 *   one that binds less than that
 */
export async function openTestDevice({ limits }: { readonly limits?: "guaranteed" | "small" } = {}): Promise<Device> {
  if (IS_INTERPRETED) return openInterpreted().gpu;
  if (wanted === "cpu" || (isCpu && limits === undefined)) return CpuDevice.open({ threads: 2 });
  if (limits !== "small") return Gpu.open({ limits });
  const opened = await requestDevice({ limits: "guaranteed" });
  return opened === undefined ? Gpu.open() : Gpu.on(opened, { mostBytes: SMALL_BINDING });
}
