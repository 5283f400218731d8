import type { Device, DeviceInfo } from "../src/device/device.ts";
import type { Staging } from "../src/device/staging.ts";
import { openDevice } from "../src/open-device.ts";

/** The device that RANDLORA_DEVICE names (`--device` of `bun run bench`), else the one that the program would take. */
export async function openBenchDevice(profile = false): Promise<Device> {
  return openDevice({ choice: process.env["RANDLORA_DEVICE"], profile });
}

/** The ways in which a device computes: its own first, and that of real GPUs where a software GPU has another. */
export function stagingsOf({ staging }: Device): readonly Staging[] {
  return staging.kind === "subgroup" ? [staging, { kind: "workgroup" }] : [staging];
}

/**
 * What `openBenchDevice` opens, found out by another process: a process's second CPU device is slower while the first one's
 * memories are not collected (docs/design.md, "The CPU device").
 */
export async function benchDeviceInfo(): Promise<Pick<DeviceInfo, "name" | "driver">> {
  // Bun hands on the environment that it was started with, and not what was set since, as RANDLORA_DEVICE may be.
  const child = Bun.spawn([process.execPath, import.meta.path], {
    env: process.env,
    stdout: "pipe",
    stderr: "inherit",
  });
  const [text, status] = await Promise.all([child.stdout.text(), child.exited]);
  if (status !== 0) throw new Error(`no device could be opened: ${text}`);
  return JSON.parse(text) as DeviceInfo;
}

if (import.meta.main) {
  using device = await openBenchDevice();
  process.stdout.write(JSON.stringify(device.info));
}
