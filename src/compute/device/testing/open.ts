import { CpuDevice } from "../../cpu/cpu.ts";
import type { DeviceOptions } from "../../open-device.ts";
import { Gpu } from "../../gpu/gpu.ts";
import { requestDevice } from "../../gpu/request.ts";
import { openInterpreted } from "../../gpu/testing/interpreted.ts";
import type { Device } from "../device.ts";

/** Bytes that every GPU binds at once: larger tensors are taken in parts by one with the guaranteed limits. */
export const GUARANTEED_BINDING = 2 ** 27;

/** Bytes that a GPU with `small` limits binds at once: what is taken in parts is shown by matrices that a software GPU is soon through. */
export const SMALL_BINDING = 2 ** 21;

const wanted = process.env["RANDLORA_TEST_DEVICE"];
/** Kernels are interpreted and checked for races: `RANDLORA_TEST_DEVICE=interpreter bun test PATH`. */
const IS_INTERPRETED = wanted === "interpreter";
/** By default tests run on the CPU device, which is many times as fast as a software GPU and needs no driver. */
export const IS_GPU = IS_INTERPRETED || wanted === "gpu";

/** What opens a GPU for what opens its device itself, a software one, too: the first one. */
export const FIRST_GPU: DeviceOptions = { choice: "0" };

/** The device of {@link openTestDevice}, for what opens its device itself. */
export const TEST_DEVICE: DeviceOptions = IS_GPU ? FIRST_GPU : { choice: "cpu", threads: 2 };

/**
 * The device that a test runs on which is not about devices: the program's own CPU device, or with RANDLORA_TEST_DEVICE=gpu
 * the GPU that there is, a software one mostly, with `interpreter` a GPU whose kernels are checked.
 * @param options of a GPU: `guaranteed`: with the limits that every GPU has; `small`: one that binds less than that
 */
export async function openTestDevice({ limits }: { readonly limits?: "guaranteed" | "small" } = {}): Promise<Device> {
  if (!IS_GPU) return CpuDevice.open({ threads: 2 });
  return openTestGpu(limits);
}

/**
 * A GPU for tests of what is a GPU's alone: with RANDLORA_TEST_DEVICE=gpu the one that there is, by default one whose kernels are
 * interpreted and checked, which needs no driver.
 * @param limits as those of {@link openTestDevice}
 */
export async function openTestGpu(limits?: "guaranteed" | "small"): Promise<Gpu> {
  const isReal = IS_GPU && !IS_INTERPRETED;
  if (limits !== "small") return isReal ? Gpu.open({ limits }) : openInterpreted().gpu;
  const opened = isReal ? await requestDevice({ limits: "guaranteed" }) : undefined;
  if (opened !== undefined) return Gpu.on(opened, { mostBytes: SMALL_BINDING });
  return isReal ? Gpu.open() : openInterpreted().gpu.binding(SMALL_BINDING);
}
