import type { Device } from "../src/compute/device/device.ts";
import type { Staging } from "../src/compute/device/staging.ts";
import { openDevice } from "../src/compute/open-device.ts";

/** The device that RANDLORA_DEVICE names (`--device` of `bun run bench`), else the one that the program would take. */
export async function openBenchDevice(profile = false): Promise<Device> {
  return openDevice({ choice: process.env["RANDLORA_DEVICE"], profile });
}

/** The ways in which a device computes: its own first, and that of real GPUs where a software GPU has another. */
export function stagingsOf({ staging }: Device): readonly Staging[] {
  return staging.kind === "subgroup" ? [staging, { kind: "workgroup" }] : [staging];
}
