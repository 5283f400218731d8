import { CpuDevice } from "../../cpu/cpu.ts";
import { Gpu } from "../../gpu/gpu.ts";
import type { Device } from "../device.ts";

/** Bytes that every GPU binds at once: larger tensors are taken in parts by one with the guaranteed limits. */
export const GUARANTEED_BINDING = 2 ** 27;

/**
 * The device that a test runs on which is not about devices: the GPU that there is, a software one mostly, or with
 * RANDLORA_TEST_DEVICE=cpu the program's own CPU device.
 * @param options `guaranteed`: a GPU with the limits that every GPU has
 */
export async function openTestDevice(options: { readonly limits?: "guaranteed" } = {}): Promise<Device> {
  return process.env["RANDLORA_TEST_DEVICE"] === "cpu" ? CpuDevice.open({ threads: 2 }) : Gpu.open(options);
}
