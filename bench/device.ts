import type { Device } from "../src/compute/device/device.ts";
import { openDevice } from "../src/compute/open-device.ts";

/** The device that RANDLORA_DEVICE names (`--device` of `bun run bench`), else the one that the program would take. */
export async function openBenchDevice(profile = false): Promise<Device> {
  return openDevice({ choice: process.env["RANDLORA_DEVICE"], profile });
}
