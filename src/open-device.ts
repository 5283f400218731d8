import type { Device } from "./device/device.ts";
import { Gpu } from "./gpu/gpu.ts";

/** What is asked of a device. */
export interface DeviceOptions {
  /** `--gpu`: a name, an index or `software`; undefined takes the fastest. */
  readonly choice?: string | undefined;
  /** Time every kernel. */
  readonly profile?: boolean | undefined;
}

/**
 * Opens what the program computes on. Everything else knows it as a {@link Device}.
 * @throws RandloraError `gpu` when there is none, when the choice matches none, or when the driver fails
 */
export async function openDevice(options: DeviceOptions = {}): Promise<Device> {
  return Gpu.open(options);
}
