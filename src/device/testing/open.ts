import { CpuDevice } from "../../cpu/cpu.ts";
import { Gpu } from "../../gpu/gpu.ts";
import type { Device } from "../device.ts";

/**
 * The device that a test runs on which is not about devices: the GPU that there is, a software one mostly, or with
 * RANDLORA_TEST_DEVICE=cpu the program's own CPU device.
 */
export async function openTestDevice(): Promise<Device> {
  return process.env["RANDLORA_TEST_DEVICE"] === "cpu" ? CpuDevice.open({ threads: 2 }) : Gpu.open();
}
